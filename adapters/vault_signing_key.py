"""An Ed25519 key of the transit engine of HashiCorp Vault or OpenBao, over its HTTP API. The private key never leaves the vault."""

from __future__ import annotations

import asyncio
import binascii
import ssl
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from router.config.ledger_keys import VaultKey
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


class VaultSigningKey:
    """Implements `router.ports.SigningKey`. `token` is asked for each request, since who renews it may exchange it; `ca` are the
    authorities that are believed instead of the system's. Opening it reads the public key. Raises AuditError."""

    remote = True

    def __init__(self, config: VaultKey, token: Callable[[], str], ca: Path | None = None) -> None:
        self._config = config
        self._token = token
        self._base = f"{config.address.rstrip('/')}/v1/{config.mount}"
        self._where = f"the key '{config.key}' of the vault {config.address}"
        self._tls = _context(ca)
        self.public = self._read_public()

    def sign(self, message: bytes) -> bytes:
        version = self._config.version
        wanted = {"input": b64encode(message).decode(), "key_version": version}
        mark, _, encoded = _text(self._ask("POST", "sign", wanted), "signature").rpartition(":")
        if mark != f"vault:v{version}":
            raise self._odd()
        return self._decoded(encoded)

    def _read_public(self) -> bytes:
        """A derived key is another one for each context, so it is none."""
        found = self._ask("GET", "keys", None)
        if found.get("type") != KIND or found.get("derived"):
            raise AuditError(f"{self._subject} is not of the type {KIND}, or is derived.", "audit_key_invalid")
        versions = found.get("keys")
        one = versions.get(str(self._config.version)) if isinstance(versions, dict) else None
        if not isinstance(one, dict):
            raise AuditError(f"{self._subject} has no version {self._config.version}.", "audit_key_invalid")
        return self._decoded(_text(one, "public_key"))

    def _ask(self, method: str, verb: str, payload: dict[str, Any] | None) -> dict[str, Any]:
        """The answer's `data`. The one place where what can go wrong on the way becomes an AuditError; nothing that the vault or the client
        library says is repeated, for it may hold the token."""
        headers = self._headers()
        try:
            status, body = asyncio.run(self._exchanged(method, f"{self._base}/{verb}/{self._config.key}", headers, payload))
        except TimeoutError:
            raise AuditError(f"{self._subject} gave no answer within {self._config.timeout:g} s.", "audit_key_unreachable") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise AuditError(f"{self._subject} cannot be reached: {_why(error)}.", "audit_key_unreachable") from None
        if status in (400, 403, 404):
            raise AuditError(f"{self._subject} cannot be used: the vault {REFUSALS[status]}.", "audit_key_refused")
        if status != 200:
            told = REFUSALS.get(status, f"answered {status}")
            raise AuditError(f"{self._subject} cannot be reached: the vault {told}.", "audit_key_unreachable")
        try:
            data = orjson.loads(body)["data"]
        except (ValueError, KeyError, TypeError):
            raise self._odd() from None
        if not isinstance(data, dict):
            raise self._odd()
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
            raise AuditError(f"The token for {self._where} is not usable.", "audit_key_refused")
        headers = {"x-vault-token": token, "x-vault-request": "true", "content-type": "application/json", "user-agent": "lockgate"}
        return headers if self._config.namespace is None else {**headers, "x-vault-namespace": self._config.namespace}

    def _decoded(self, encoded: str) -> bytes:
        try:
            return b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise self._odd() from None

    def _odd(self) -> AuditError:
        return AuditError(f"{self._subject} gave an answer that is not the transit engine's.", "audit_key_unreachable")

    @property
    def _subject(self) -> str:
        return self._where[:1].upper() + self._where[1:]


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
        return (error.os_error.strerror or "no connection").lower()
    return "the connection broke" if isinstance(error, aiohttp.ClientError | OSError) else "its answer makes no sense"
