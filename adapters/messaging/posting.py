"""POST over HTTP/1.1 with a bounded answer: no redirects, no cookies, no proxy from the environment, nothing packed."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from adapters.aligned_aiohttp import TcpConnector
from adapters.messaging.destination import failure
from router.errors import DestinationError

HEADER_BYTES = 32 * 1024
Translate = Callable[[BaseException], DestinationError | None]


@dataclass(frozen=True, slots=True)
class Answered:
    """`content` ends at the bound; `whole` says whether that was all."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    whole: bool

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300


class Poster:
    """`resolver` and `socket_factory` are aiohttp's; `translate` knows errors that those raise. `who` is how refusals call the peer."""

    def __init__(
        self,
        *,
        connect: float,
        most: int,
        secure: ssl.SSLContext | None = None,
        server_name: str | None = None,
        resolver: Callable[[], AbstractResolver] | None = None,
        socket_factory: Callable[[Any], Any] | None = None,
        translate: Translate = lambda _: None,
        who: str = "the endpoint",
    ) -> None:
        self._connect, self._most = connect, most
        self._secure, self._server_name = secure, server_name
        self._resolver, self._socket_factory = resolver, socket_factory
        self._translate, self._who = translate, who
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: URL, headers: Mapping[str, str], body: bytes) -> Answered:
        """Raises DestinationError."""
        if self._session is None:
            self._session = self._opened()
        try:
            async with self._session.post(
                url,
                headers=headers,
                data=body,
                allow_redirects=False,
                ssl=self._secure if self._secure is not None and url.scheme == "https" else True,
                server_hostname=self._server_name if url.scheme == "https" else None,
            ) as response:
                content, whole = await self._bounded(response)
                if not whole:
                    response.close()
                return Answered(response.status, {name.lower(): value for name, value in response.headers.items()}, content, whole)
        except (aiohttp.ClientError, OSError) as error:
            raise self._translate(error) or translated(error, self._who) from error
        except ValueError as error:
            raise failure("input_unmapped", "the request cannot be sent as it is") from error

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _bounded(self, response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
        found = bytearray()
        async for chunk in response.content.iter_any():
            found += chunk
            if len(found) > self._most:
                return bytes(found[: self._most]), False
        return bytes(found), True

    def _opened(self) -> aiohttp.ClientSession:
        resolver = self._resolver() if self._resolver is not None else None
        session = aiohttp.ClientSession(
            connector=TcpConnector(limit=0, resolver=resolver, use_dns_cache=False, socket_factory=self._socket_factory),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=self._connect),
            headers={"user-agent": "lockgate", "accept-encoding": "identity"},
            skip_auto_headers=("content-type",),
            auto_decompress=False,
            trust_env=False,
            max_field_size=HEADER_BYTES,
            max_line_size=HEADER_BYTES,
        )
        # Trying again is the destination's decision.
        session._retry_connection = False
        return session


def translated(error: Exception, who: str) -> DestinationError:
    """The only place where the library's errors become ours."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return failure("connect_timeout", f"{who} did not accept a connection in time")
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return failure("tls_failed", f"no TLS connection with {who} could be made")
    if isinstance(error, aiohttp.ClientConnectorError):
        return failure("connect_failed", f"no connection to {who} could be made")
    if isinstance(error, aiohttp.ClientResponseError):
        return failure("upstream_protocol", f"the response of {who} is not valid HTTP/1.1", sent=True)
    return failure("upstream_reset", f"{who} closed the connection before its response was complete", sent=True)
