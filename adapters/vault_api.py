"""The HTTP API of HashiCorp Vault or OpenBao as far as every engine shares it: address, token, namespace, TLS, and what can go wrong."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import aiohttp
import orjson

from router.config.ledger_keys import Reach

MOST_BYTES = 1 << 20
REFUSALS = {
    400: "does not accept the request",
    403: "does not let this token use the {what}",
    404: "knows no such mount or {what}",
    412: "is a replica that is behind",
    429: "limits its callers",
    473: "is a standby that does not answer",
    503: "is sealed or down",
}


class VaultError(Exception):
    """`str` goes on a sentence that began with what was wanted. Nothing that the vault or the client library says is repeated, for it may
    hold the token."""

    def __init__(self, said: str, kind: Literal["refused", "unreachable", "unreadable"]) -> None:
        super().__init__(said)
        self.kind = kind


class VaultApi:
    """`what` names what is asked for. `token` is asked for each request, since who renews it may exchange it; `ca` are the authorities that
    are believed instead of the system's."""

    def __init__(self, settings: Reach, token: Callable[[], str], ca: Path | None, what: str) -> None:
        self._settings = settings
        self._token = token
        self._base = f"{settings.address.rstrip('/')}/v1"
        self._tls = _context(ca)
        self._what = what

    def ask(self, method: str, path: str, payload: dict[str, Any] | None) -> dict[str, Any]:
        """The answer's `data`. Blocks, wherever it is called. Raises VaultError."""
        headers = self._headers()
        try:
            with ThreadPoolExecutor(1) as aside:  # the caller's thread may have a running loop
                status, body = aside.submit(asyncio.run, self._exchanged(method, f"{self._base}/{path}", headers, payload)).result()
        except TimeoutError:
            raise VaultError(f"gave no answer within {self._settings.timeout:g} s.", "unreachable") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise VaultError(f"cannot be reached: {_why(error)}.", "unreachable") from None
        if status in (400, 403, 404):
            raise VaultError(f"cannot be used: the vault {REFUSALS[status].format(what=self._what)}.", "refused")
        if status != 200:
            raise VaultError(f"cannot be reached: the vault {REFUSALS.get(status, f'answered {status}')}.", "unreachable")
        try:
            data = orjson.loads(body)["data"]
        except (ValueError, KeyError, TypeError):
            data = None
        if not isinstance(data, dict):
            raise self.odd()
        return data

    def odd(self) -> VaultError:
        return VaultError("gave an answer that is not that engine's.", "unreachable")

    async def _exchanged(self, method: str, url: str, headers: dict[str, str], payload: dict[str, Any] | None) -> tuple[int, bytes]:
        """Redirects are not followed: the token goes where the configuration says and nowhere else."""
        limit = aiohttp.ClientTimeout(total=self._settings.timeout)
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
            raise VaultError("cannot be used: its token is empty or not one line.", "refused")
        headers = {"x-vault-token": token, "x-vault-request": "true", "content-type": "application/json", "user-agent": "lockgate"}
        return headers if self._settings.namespace is None else {**headers, "x-vault-namespace": self._settings.namespace}


def _context(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError):
        raise VaultError(f"{ca} is not a PEM file of authorities.", "unreadable") from None


def _why(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not trusted"
    if isinstance(error, aiohttp.ClientConnectorError):
        return os.strerror(error.os_error.errno).lower() if error.os_error.errno else "no connection"
    return "the connection broke" if isinstance(error, aiohttp.ClientError | OSError) else "its answer makes no sense"
