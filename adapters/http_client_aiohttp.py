"""HTTP/1.1 to one upstream with aiohttp, the conservative client. Header bytes and paths stay as they are; cancelling aborts at once."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import aiohttp
from yarl import URL

from adapters.aligned_aiohttp import TcpConnector
from adapters.http_upstream.client import ClientOptions, bodyless
from adapters.http_upstream.failures import failure
from adapters.http_upstream.tls import context
from router.errors import DestinationError
from router.ports import Headers

NOT_ADDED = ("accept", "accept-encoding", "user-agent", "content-type")
HEADER_BYTES = 64 * 1024
HEADER_COUNT = 256


class AiohttpClient:
    def __init__(self, options: ClientOptions) -> None:
        self._origin = options.origin
        self._server_name = options.server_name
        secure = options.origin.startswith("https://")
        self._ssl: ssl.SSLContext | bool = context(options.ca, options.certificate, options.key) if secure else True
        self._options = options
        self._session: aiohttp.ClientSession | None = None

    async def request(self, method: str, target: str, headers: Headers, body: bytes | AsyncIterator[bytes]) -> AiohttpExchange:
        streamed = not isinstance(body, bytes)
        try:
            url = URL(self._origin + target, encoded=True)
            sent = [(str(name, "ascii"), str(value, "utf-8")) for name, value in headers if not (streamed and name == b"transfer-encoding")]
        except ValueError as error:
            raise failure("request_unsendable", "the request's path or a header cannot be sent as it is") from error
        if url.raw_path_qs != target:
            raise failure("request_unsendable", "the request's path would reach the upstream as another path")
        if self._session is None:
            self._session = self._opened()
        try:
            response = await self._session.request(
                method,
                url,
                headers=sent,
                data=body or None,
                chunked=True if streamed and not any(name == "content-length" for name, _ in sent) else None,
                allow_redirects=False,
                ssl=self._ssl,
                server_hostname=self._server_name,
            )
        except (aiohttp.ClientError, OSError) as error:
            raise translated(error) from error
        except ValueError as error:
            raise failure("request_unsendable", "the request cannot be sent as it is") from error
        return AiohttpExchange(response, method)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        session = aiohttp.ClientSession(
            connector=TcpConnector(limit=0, keepalive_timeout=self._options.keep),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=self._options.connect),
            skip_auto_headers=NOT_ADDED,
            auto_decompress=False,
            trust_env=False,
            max_field_size=HEADER_BYTES,
            max_line_size=HEADER_BYTES,
            max_headers=HEADER_COUNT,
        )
        # Retrying is the destination's decision: it knows the budget, and whether the body can be read again.
        session._retry_connection = False
        return session


class AiohttpExchange:
    __slots__ = ("_bodyless", "_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse, method: str) -> None:
        self.status = response.status
        self.headers: Headers = [(name.lower(), value) for name, value in response.raw_headers]
        self._response = response
        self._bodyless = bodyless(method, response.status)

    @property
    def done(self) -> bool:
        return self._bodyless or self._response.content.at_eof()

    async def read(self) -> bytes:
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise translated(error) from error

    async def close(self) -> None:
        if self.done:
            self._response.release()
        else:
            self._response.close()


def translated(error: Exception) -> DestinationError:
    """The only place where the library's errors become ours."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return failure("connect_timeout", "the upstream did not accept a connection in time")
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return failure("tls_failed", "no TLS connection with the upstream could be made")
    if isinstance(error, aiohttp.ClientConnectorError):
        return failure("connect_failed", "no connection to the upstream could be made")
    if isinstance(error, aiohttp.ClientResponseError):
        return failure("upstream_protocol", "the upstream's response is not valid HTTP/1.1", sent=True)
    return failure("upstream_reset", "the upstream closed the connection before its response was complete", sent=True)
