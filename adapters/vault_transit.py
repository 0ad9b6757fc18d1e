"""The transit engine of HashiCorp Vault or OpenBao, over its HTTP API: an Ed25519 key that never leaves the vault, and the unwrapping of
one that lies wrapped in a file."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adapters.vault_api import VaultApi, VaultError
from router.config.ledger_keys import Transit, VaultKey
from router.errors import AuditError

KIND = "ed25519"
CODES = {"refused": "audit_key_refused", "unreachable": "audit_key_unreachable", "unreadable": "audit_key_unreadable"}


class Vault:
    """One key of a transit engine. `token` is asked for each request, since who renews it may exchange it; `ca` are the authorities that
    are believed instead of the system's."""

    def __init__(self, config: Transit, token: Callable[[], str], ca: Path | None = None) -> None:
        self._config = config
        self.subject = f"The key '{config.key}' of the vault {config.address}"
        try:
            self._api = VaultApi(config, token, ca, "key")
        except VaultError as error:
            raise AuditError(str(error), CODES[error.kind]) from None

    def ask(self, method: str, verb: str, payload: dict[str, Any] | None) -> dict[str, Any]:
        """The answer's `data`. The one place where what can go wrong on the way becomes an AuditError."""
        try:
            return self._api.ask(method, f"{self._config.mount}/{verb}/{self._config.key}", payload)
        except VaultError as error:
            said = f"{self.subject} {error}"
            if error.kind == "refused":
                raise AuditError(said, "audit_key_refused") from None
            raise AuditError(said, CODES[error.kind]) from None

    def decoded(self, encoded: str) -> bytes:
        try:
            return b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise self.odd() from None

    def odd(self) -> AuditError:
        return AuditError(f"{self.subject} gave an answer that is not that engine's.", "audit_key_unreachable")


class VaultSigningKey:
    """Implements `router.ports.SigningKey`. Opening it reads the public key. Raises AuditError."""

    remote = True

    def __init__(self, config: VaultKey, token: Callable[[], str], ca: Path | None = None) -> None:
        self._version = config.version
        self._vault = Vault(config, token, ca)
        self.public = self._read_public()

    def sign(self, message: bytes) -> bytes:
        wanted = {"input": b64encode(message).decode(), "key_version": self._version}
        mark, _, encoded = _text(self._vault.ask("POST", "sign", wanted), "signature").rpartition(":")
        if mark != f"vault:v{self._version}":
            raise self._vault.odd()
        return self._vault.decoded(encoded)

    def _read_public(self) -> bytes:
        """A derived key is another one for each context, so it is none."""
        found = self._vault.ask("GET", "keys", None)
        if found.get("type") != KIND or found.get("derived"):
            raise AuditError(f"{self._vault.subject} is not of the type {KIND}, or is derived.", "audit_key_invalid")
        versions = found.get("keys")
        one = versions.get(str(self._version)) if isinstance(versions, dict) else None
        if not isinstance(one, dict):
            raise AuditError(f"{self._vault.subject} has no version {self._version}.", "audit_key_invalid")
        return self._vault.decoded(_text(one, "public_key"))


def new_wrapped_key(vault: Vault) -> str:
    """256 random bits, wrapped: one line of text. Nobody sees them before they are unwrapped. Raises AuditError."""
    return _text(vault.ask("POST", "datakey/wrapped", {"bits": 256}), "ciphertext")


def unwrapped(vault: Vault, wrapped: str) -> bytes:
    """Raises AuditError."""
    key = vault.decoded(_text(vault.ask("POST", "decrypt", {"ciphertext": wrapped}), "plaintext"))
    if len(key) != 32:
        raise AuditError(f"{vault.subject} unwrapped something that is no key of 32 bytes.", "audit_key_invalid")
    return key


def _text(data: dict[str, Any], field: str) -> str:
    value = data.get(field)
    return value if isinstance(value, str) else ""
