from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from router.audit.keys.files import ensure_sealing_key, ensure_signing_key, read_sealing_key, read_signing_key
from router.errors import AuditError


def test_keys_are_made_once_and_for_their_owner_only(tmp_path: Path) -> None:
    """A second start reads what the first one made."""
    signing, sealing = tmp_path / "keys" / "ledger.key", tmp_path / "keys" / "sealing.key"
    first = ensure_signing_key(signing).private_bytes_raw(), ensure_sealing_key(sealing)
    assert (ensure_signing_key(signing).private_bytes_raw(), ensure_sealing_key(sealing)) == first
    assert [file.stat().st_mode & 0o777 for file in (signing, sealing)] == [0o600, 0o600]


@pytest.mark.parametrize("content", [b"", b"zz" * 32, b"00" * 31, b"\xff" * 64])
def test_a_file_that_is_no_sealing_key_is_refused(tmp_path: Path, content: bytes) -> None:
    """Said with the file's name and what belongs there."""
    (tmp_path / "sealing.key").write_bytes(content)
    with pytest.raises(AuditError, match=r"sealing\.key does not hold 64 hex digits"):
        read_sealing_key(tmp_path / "sealing.key")


def test_a_file_that_is_no_signing_key_is_refused(tmp_path: Path) -> None:
    """Neither nonsense nor another kind of key."""
    (tmp_path / "nonsense").write_text("x")
    with pytest.raises(AuditError, match="not an unencrypted PEM private key"):
        read_signing_key(tmp_path / "nonsense")
    rsa = generate_private_key(65537, 2048)
    (tmp_path / "rsa").write_bytes(rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(AuditError, match="another kind of key than Ed25519"):
        read_signing_key(tmp_path / "rsa")


def test_missing_and_unwritable_keys_are_said(tmp_path: Path) -> None:
    """One sentence each."""
    with pytest.raises(AuditError, match="cannot be read: No such file") as unreadable:
        read_sealing_key(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(AuditError, match=r"cannot be written: Not a directory|cannot be written: File exists") as unwritable:
        ensure_sealing_key(tmp_path / "file" / "sealing.key")
    assert (unreadable.value.code, unwritable.value.code) == ("audit_key_unreadable", "audit_key_unwritable")
