"""A JWKS document behind a URL. Redirects are not followed: where keys come from is configured, not answered."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address
from urllib.parse import urlsplit

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError
from pyreqwest.response import Response

from router.errors import ConfigError, StateError

MAX_BYTES = 1024 * 1024
CONNECT = timedelta(seconds=3)
TOTAL = timedelta(seconds=5)


class JwksUrl:
    """Raises ConfigError for a URL over which anybody on the way could put in their own keys."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        loopback = _loopback(parts.hostname or "")
        if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and loopback)):
            raise ConfigError(f"identity.jwt: the JWKS URL {url} must be https (http is accepted to a loopback address only).")
        self._url = url
        self._loopback = loopback
        self._client: Client | None = None

    async def fetch(self) -> bytes:
        """The document as it is. Raises StateError."""
        try:
            async with self._opened().get(self._url).build_streamed() as response:
                if response.status != 200:
                    raise StateError(f"{self._url} answered {response.status}")
                return await _body(response, self._url)
        except PyreqwestError as error:
            raise StateError(f"{self._url} gave no keys: {error.message}") from error

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _opened(self) -> Client:
        if self._client is None:
            builder = ClientBuilder().follow_redirects(False).connect_timeout(CONNECT).timeout(TOTAL).max_connections(2)
            builder = builder.no_proxy() if self._loopback else builder
            self._client = builder.user_agent("lockgate").build()
        return self._client


async def _body(response: Response, url: str) -> bytes:
    body = bytearray()
    while (chunk := await response.body_reader.read_chunk()) is not None:
        body += chunk
        if len(body) > MAX_BYTES:
            raise StateError(f"{url} answered more than {MAX_BYTES} bytes")
    return bytes(body)


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
