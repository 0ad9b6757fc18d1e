"""Calls to witnesses over HTTP. Redirects are not followed: who witnesses is configured, not answered."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import aiohttp

from adapters.aligned_aiohttp import TcpConnector
from router.audit.witnesses.protocol import MOST_BYTES
from router.audit.witnesses.showing import Reply
from router.errors import AuditError, ConfigError


class WitnessHttp:
    """Implements `router.audit.witnesses.showing.WitnessCalls`. `timeout` is in seconds, for one call; `ca` a PEM file of those who may
    vouch for a witness's certificate, in the place of the system's."""

    def __init__(self, timeout: float, ca: Path | None = None) -> None:
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._tls = _context(ca)
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes) -> Reply:
        try:
            async with self._opened().post(url, data=body, allow_redirects=False) as response:
                content = await _bounded(response)
                return Reply(response.status, response.headers.get("content-type", ""), content)
        except TimeoutError as error:
            raise AuditError(f"{url} did not answer in time.", "witness_late") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise AuditError(f"{url} cannot be reached: {_cause(error)}.", "witness_unreachable") from error

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=TcpConnector(limit_per_host=2, ssl=self._tls),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
                headers={"user-agent": "lockgate", "content-type": "text/plain; charset=utf-8", "accept-encoding": "identity"},
            )
        return self._session


def _cause(error: Exception) -> str:
    """The system's own words where it has some; the library's are long, and end in any way."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number).lower() if number is not None and number > 0 else str(error).rstrip(".") or type(error).__name__


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MOST_BYTES:
            raise AuditError(f"It answered with more than {MOST_BYTES} bytes.", "witness_answer_too_large")
    return bytes(body)


def _context(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"audit.witnesses.ca: {ca} cannot be used as certificates: {error}.") from error
