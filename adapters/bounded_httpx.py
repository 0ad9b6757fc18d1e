"""httpx, held to responses of a bounded size, for client libraries that read whatever comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import httpx


class _Bounded(httpx.AsyncByteStream):
    """A response's bytes, as long as there are not too many."""

    def __init__(self, stream: httpx.AsyncByteStream, most_bytes: int) -> None:
        self._stream = stream
        self._most_bytes = most_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._most_bytes
        async for chunk in self._stream:
            left -= len(chunk)
            if left < 0:
                raise httpx.ReadError("the response is too large")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def bounded_response(most_bytes: int) -> Callable[[httpx.Response], Awaitable[None]]:
    """An event hook, before the body is read. Packed, a small body could still become a large one."""

    async def bound(response: httpx.Response) -> None:
        if response.headers.get("content-encoding", "identity") != "identity" or not isinstance(response.stream, httpx.AsyncByteStream):
            raise httpx.DecodingError("the response is packed, which was not asked for")
        response.stream = _Bounded(response.stream, most_bytes)

    return bound


def named(server_name: str | None) -> Callable[[httpx.Request], Awaitable[None]]:
    """An event hook: the name that the other side's certificate must carry, where it is not the URL's host."""

    async def name(request: httpx.Request) -> None:
        if server_name is not None:
            request.extensions = {**request.extensions, "sni_hostname": server_name}

    return name
