"""The HTTP of MCP sessions: what goes along with each call, how much is read, and what went wrong, which the library tells in many ways."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

import httpx2

from adapters.messaging.destination import failure
from router.errors import DestinationError


@dataclass(slots=True)
class Call:
    """One message's session. `headers` go with each of its requests; `sent` once the tool may have been called; `failed` and `status` are
    the first thing that went wrong, and the last status of a POST and its Retry-After."""

    headers: Mapping[str, str] = field(default_factory=dict)
    sent: bool = False
    failed: DestinationError | None = None
    status: int = 0
    retry_after: str = ""


CALL: ContextVar[Call] = ContextVar("mcp_call")


class Wire(httpx2.AsyncBaseTransport):
    """Pooled connections that sessions share; sessions themselves share nothing."""

    def __init__(self, secure: ssl.SSLContext, most: int, server_name: str | None = None) -> None:
        self._name = server_name
        self._inner = httpx2.AsyncHTTPTransport(verify=secure, trust_env=False, retries=0)
        self._most = most

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        call = CALL.get()
        request.headers.update(call.headers)
        request.headers["accept-encoding"] = "identity"
        if self._name is not None:
            request.extensions = {**request.extensions, "sni_hostname": self._name}
        try:
            response = await self._inner.handle_async_request(request)
        except httpx2.TransportError as error:
            call.failed = call.failed or translated(error, sent=call.sent)
            raise
        if request.method == "POST":
            call.status, call.retry_after = response.status_code, response.headers.get("retry-after", "")
        if response.headers.get("content-encoding", "identity") != "identity" or not isinstance(response.stream, httpx2.AsyncByteStream):
            raise httpx2.DecodingError("the response is packed, which was not asked for")
        response.stream = _Bounded(response.stream, self._most, call)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, most: int, call: Call) -> None:
        self._stream, self._left, self._call = stream, most, call

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                self._left -= len(chunk)
                if self._left < 0:
                    self._call.failed = failure("upstream_protocol", "the server's answer is too long", sent=self._call.sent)
                    raise httpx2.ReadError("the response is too large")
                yield chunk
        except httpx2.TransportError as error:
            self._call.failed = self._call.failed or translated(error, sent=self._call.sent)
            raise

    async def aclose(self) -> None:
        await self._stream.aclose()


def translated(error: httpx2.TransportError, *, sent: bool) -> DestinationError:
    """The only place where the HTTP library's errors become ours. What says that nobody was reached is for a tool that was not called."""
    if isinstance(error, httpx2.ConnectTimeout | httpx2.PoolTimeout) and not sent:
        return failure("connect_timeout", "the server did not accept a connection in time")
    if isinstance(error, httpx2.ConnectError) and not sent:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ssl.SSLError):
            cause = cause.__cause__ or cause.__context__
        code = "connect_failed" if cause is None else "tls_failed"
        return failure(code, "no connection to the server could be made")
    if isinstance(error, httpx2.TimeoutException):
        return failure("upstream_timeout", "the server did not answer in time", sent=sent)
    return failure("upstream_reset", "the connection with the server broke off", sent=sent)
