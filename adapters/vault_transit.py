"""The transit engine of HashiCorp Vault or OpenBao, over its HTTP API: an Ed25519 key that never leaves the vault, and the unwrapping of
one that lies wrapped in a file."""

from __future__ import annotations

import asyncio
import binascii
import os
import ssl
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from router.config.ledger_keys import Transit, VaultKey
from router.errors import AuditError

MOST_BYTES = 1 << 20
KIND = "ed25519"
REFUSALS = {
    400: "does not accept the request",
    403: "does not let this token use the key",
    404: "knows no such mount or key",
    412: "is a replica that is behind",
    429: "limits its callers",
    473: "is a standby that does not answer",
    503: "is sealed or down",
}


class Vault:
    """One key of a transit engine. `token` is asked for each request, since who renews it may exchange it; `ca` are the authorities that
    are believed instead of the system's."""

    def __init__(self, config: Transit, token: Callable[[], str], ca: Path | None = None) -> None:
        self._config = config
        self._token = token
        self._base = f"{config.address.rstrip('/')}/v1/{config.mount}"
        self._tls = _context(ca)
        self.subject = f"The key '{config.key}' of the vault {config.address}"

    def ask(self, method: str, verb: str, payload: dict[str, Any] | None) -> dict[str, Any]:
        """The answer's `data`. The one place where what can go wrong on the way becomes an AuditError; nothing that the vault or the client
        library says is repeated, for it may hold the token."""
        headers = self._headers()
        try:
            status, body = asyncio.run(self._exchanged(method, f"{self._base}/{verb}/{self._config.key}", headers, payload))
        except TimeoutError:
            raise AuditError(f"{self.subject} gave no answer within {self._config.timeout:g} s.", "audit_key_unreachable") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise AuditError(f"{self.subject} cannot be reached: {_why(error)}.", "audit_key_unreachable") from None
        if status in (400, 403, 404):
            raise AuditError(f"{self.subject} cannot be used: the vault {REFUSALS[status]}.", "audit_key_refused")
        if status != 200:
            told = REFUSALS.get(status, f"answered {status}")
            raise AuditError(f"{self.subject} cannot be reached: the vault {told}.", "audit_key_unreachable")
        try:
            data = orjson.loads(body)["data"]
        except (ValueError, KeyError, TypeError):
            raise self.odd() from None
        if not isinstance(data, dict):
            raise self.odd()
        return data

    async def _exchanged(self, method: str, url: str, headers: dict[str, str], payload: dict[str, Any] | None) -> tuple[int, bytes]:
        """Redirects are not followed: the token goes where the configuration says and nowhere else."""
        limit = aiohttp.ClientTimeout(total=self._config.timeout)
        body = None if payload is None else orjson.dumps(payload)
        async with (
            aiohttp.ClientSession(timeout=limit, headers=headers, cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.request(method, url, data=body, allow_redirects=False, ssl=self._tls) as response,
        ):
            read = bytearray()
            async for piece in response.content.iter_any():
                read += piece
                if len(read) > MOST_BYTES:
                    raise aiohttp.ClientPayloadError("the answer is too long")
            return response.status, bytes(read)

    def _headers(self) -> dict[str, str]:
        token = self._token()
        if not token or not token.isascii() or not token.isprintable():
            raise AuditError(f"{self.subject} cannot be used: its token is empty or not one line.", "audit_key_refused")
        headers = {"x-vault-token": token, "x-vault-request": "true", "content-type": "application/json", "user-agent": "lockgate"}
        return headers if self._config.namespace is None else {**headers, "x-vault-namespace": self._config.namespace}

    def decoded(self, encoded: str) -> bytes:
        try:
            return b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise self.odd() from None

    def odd(self) -> AuditError:
        return AuditError(f"{self.subject} gave an answer that is not the transit engine's.", "audit_key_unreachable")


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


def _context(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError):
        raise AuditError(f"{ca} is not a PEM file of authorities.", "audit_key_unreadable") from None


def _why(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not trusted"
    if isinstance(error, aiohttp.ClientConnectorError):
        return os.strerror(error.os_error.errno).lower() if error.os_error.errno else "no connection"
    return "the connection broke" if isinstance(error, aiohttp.ClientError | OSError) else "its answer makes no sense"
