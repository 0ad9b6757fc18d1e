"""A JWKS document behind a URL. Redirects are not followed: where keys come from is configured, not answered."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

import aiohttp

from adapters.aligned_aiohttp import TcpConnector
from router.errors import ConfigError, StateError

MAX_BYTES = 1024 * 1024
TIMEOUT = aiohttp.ClientTimeout(total=5, connect=3)


class JwksUrl:
    """Raises ConfigError for a URL over which anybody on the way could put in their own keys."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        loopback = _loopback(parts.hostname or "")
        if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and loopback)):
            raise ConfigError(f"identity.jwt: the JWKS URL {url} must be https (http is accepted to a loopback address only).")
        self._url = url
        self._loopback = loopback
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self) -> bytes:
        """The document as it is. Raises StateError."""
        try:
            async with self._opened().get(self._url, allow_redirects=False) as response:
                if response.status != 200:
                    raise StateError(f"{self._url} answered {response.status}")
                return await read_body(response, self._url)
        except (aiohttp.ClientError, OSError) as error:  # a time-out is an OSError
            raise StateError(f"{self._url} gave no keys: {error or type(error).__name__}") from error

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=TcpConnector(limit=2),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=TIMEOUT,
                headers={"user-agent": "lockgate"},
                trust_env=not self._loopback,
            )
        return self._session


async def read_body(response: aiohttp.ClientResponse, url: str) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BYTES:
            raise StateError(f"{url} answered more than {MAX_BYTES} bytes")
    return bytes(body)


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
