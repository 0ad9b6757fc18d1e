"""The ledger's own keys: the Ed25519 key that signs checkpoints (PEM), the key that wraps the subjects' keys (64 hex digits)."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from router.durable import sync_folder
from router.errors import AuditError
from router.ports import SigningKey

_INVALID = "audit_key_invalid"


class LocalSigningKey:
    """Implements `router.ports.SigningKey` over a key in this process."""

    remote = False

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


def ensure_signing_key(path: Path) -> Ed25519PrivateKey:
    """Reads the key, or makes one with mode 0600 when there is no file."""
    if not path.exists():
        key = Ed25519PrivateKey.generate()
        _create(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return read_signing_key(path)


def read_signing_key(path: Path) -> Ed25519PrivateKey:
    return signing_key_from_pem(_read(path), str(path))


def signing_key_from_pem(pem: bytes, where: str) -> Ed25519PrivateKey:
    """`where` begins the sentence of what is wrong with it."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise AuditError(f"{where} is not an unencrypted PEM private key.", _INVALID) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise AuditError(f"{where} holds another kind of key than Ed25519.", _INVALID)
    return key


def proven(key: SigningKey) -> SigningKey:
    """The key itself, once it has signed something that its public key verifies. What it signs here can be no checkpoint, for a checkpoint
    has its size in its second line. Raises AuditError."""
    signed_by(key, b"Lockgate tries the ledger's key.\n" + secrets.token_hex(16).encode() + b"\n")
    return key


def signed_by(key: SigningKey, message: bytes) -> bytes:
    """The only way to a signature: one that does not verify is never handed out, whatever the key's keeper answered."""
    signature = key.sign(message)
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise AuditError("The ledger's key gave a signature that its public key does not verify.", "audit_signature_wrong") from None
    return signature


def ensure_sealing_key(path: Path) -> bytes:
    """Reads the 32-byte key, or makes one with mode 0600 when there is no file."""
    if not path.exists():
        _create(path, secrets.token_hex(32).encode() + b"\n")
    return read_sealing_key(path)


def read_sealing_key(path: Path) -> bytes:
    return _sealing_key(_read(path), str(path))


def sealing_key_from_environment(variable: str, environment: Mapping[str, str]) -> bytes:
    """Raises AuditError, which never repeats the value."""
    value = environment.get(variable, "")
    if not value:
        raise AuditError(f"The environment variable {variable}, which is to hold the sealing key, is not set.", "audit_key_unreadable")
    return _sealing_key(value.encode("utf-8", "surrogateescape"), f"The environment variable {variable}")


def _sealing_key(digits: bytes, where: str) -> bytes:
    try:
        key = bytes.fromhex(digits.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != 32:
        raise AuditError(f"{where} does not hold 64 hex digits.", _INVALID)
    return key


def ensure_wrapped_key(path: Path, make: Callable[[], str]) -> str:
    """Reads the text that stands for a key which somebody else unwraps, or keeps what `make` gives, with mode 0600."""
    if not path.exists():
        _create(path, make().encode() + b"\n")
    return read_wrapped_key(path)


def read_wrapped_key(path: Path) -> str:
    text = _read(path).strip()
    if not text or len(text) > 4096 or not text.isascii():
        raise AuditError(f"{path} does not hold a wrapped key.", _INVALID)
    return text.decode()


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
        sync_folder(path.parent)
    except OSError as error:
        raise AuditError(f"The key {path} cannot be written: {error.strerror}.", "audit_key_unwritable") from error
