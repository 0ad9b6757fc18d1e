"""The ledger's own keys as files: the Ed25519 key that signs checkpoints (PEM), the key that wraps the subjects' keys (64 hex digits)."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from router.errors import AuditError

_INVALID = "audit_key_invalid"


def ensure_signing_key(path: Path) -> Ed25519PrivateKey:
    """Reads the key, or makes one with mode 0600 when there is no file."""
    if not path.exists():
        key = Ed25519PrivateKey.generate()
        _create(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return read_signing_key(path)


def read_signing_key(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError) as error:
        raise AuditError(f"{path} is not an unencrypted PEM private key.", _INVALID) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise AuditError(f"{path} holds another kind of key than Ed25519.", _INVALID)
    return key


def ensure_sealing_key(path: Path) -> bytes:
    """Reads the 32-byte key, or makes one with mode 0600 when there is no file."""
    if not path.exists():
        _create(path, secrets.token_hex(32).encode() + b"\n")
    return read_sealing_key(path)


def read_sealing_key(path: Path) -> bytes:
    try:
        key = bytes.fromhex(_read(path).decode("ascii").strip())
    except ValueError as error:
        raise AuditError(f"{path} does not hold 64 hex digits.", _INVALID) from error
    if len(key) != 32:
        raise AuditError(f"{path} does not hold 64 hex digits.", _INVALID)
    return key


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AuditError(f"The key {path} cannot be read: {error.strerror}.", "audit_key_unreadable") from error


def _create(path: Path, content: bytes) -> None:
    """Durable before it is used: records sealed under a key that a crash forgets could never be opened."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        parent = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)
    except OSError as error:
        raise AuditError(f"The key {path} cannot be written: {error.strerror}.", "audit_key_unwritable") from error
