"""An Ed25519 key in this process: read from a file or from an environment variable."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from router.audit.keys.files import LocalSigningKey, ensure_signing_key, read_signing_key, signing_key_from_pem
from router.errors import AuditError


def from_file(path: Path, *, create: bool) -> LocalSigningKey:
    """`create` makes a key where there is no file. Raises AuditError."""
    return LocalSigningKey(ensure_signing_key(path) if create else read_signing_key(path))


def from_environment(variable: str, environment: Mapping[str, str]) -> LocalSigningKey:
    """The variable holds PEM, or base64 of the 32-byte seed. Raises AuditError, which never repeats the value."""
    value = environment.get(variable, "").strip()
    if not value:
        raise AuditError(f"The environment variable {variable}, which is to hold the ledger's key, is not set.", "audit_key_unreadable")
    if value.startswith("-----BEGIN"):
        return LocalSigningKey(signing_key_from_pem(value.encode(), f"The environment variable {variable}"))
    try:
        seed = b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        seed = b""
    if len(seed) != 32:
        raise AuditError(
            f"The environment variable {variable} holds neither an unencrypted PEM private key nor base64 of a 32-byte Ed25519 seed.",
            "audit_key_invalid",
        )
    return LocalSigningKey(Ed25519PrivateKey.from_private_bytes(seed))
