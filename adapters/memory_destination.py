"""The in-memory twin of a destination: a handler in this process answers instead of an upstream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from router.errors import DestinationError
from router.ports import Headers, Outbound

BODYLESS = (204, 304)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int = 200
    headers: Headers = field(default_factory=list)
    body: bytes | AsyncIterator[bytes] = b""


Handler = Callable[[Outbound], Awaitable[Answer]]


class MemoryReply:
    def __init__(self, answer: Answer, upstream: str, *, bodyless: bool) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.upstream = upstream
        self.work = ""
        self.attempts = 1
        self._pieces = _pieces(b"" if bodyless else answer.body)

    async def chunks(self) -> AsyncIterator[bytes]:
        async for piece in self._pieces:
            if piece:
                yield piece

    async def close(self) -> None:
        await self._pieces.aclose()


class MemorySocket:
    """One end of a WebSocket; `pair` makes both."""

    def __init__(self, subprotocol: str | None) -> None:
        self.subprotocol = subprotocol
        self.close_code = 1000
        self._inbox: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._peer = self
        self._open = True

    async def send(self, message: str | bytes) -> None:
        if not self._open:
            raise DestinationError("the upstream closed the WebSocket", "upstream_reset", 502, sent=True)
        await self._peer._inbox.put(message)

    async def receive(self) -> str | bytes | None:
        if not self._open and self._inbox.empty():
            return None
        return await self._inbox.get()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        if self._open:
            for end in (self, self._peer):
                end._open = False
                end.close_code = code
                await end._inbox.put(None)


def pair(subprotocol: str | None) -> tuple[MemorySocket, MemorySocket]:
    near, far = MemorySocket(subprotocol), MemorySocket(subprotocol)
    near._peer, far._peer = far, near
    return near, far


@dataclass(frozen=True, slots=True)
class Visit:
    """A WebSocket that reached the in-memory upstream."""

    target: str
    headers: Headers
    socket: MemorySocket


class MemoryDestination:
    """`handler` answers requests; `visit`, when given, is run as a task for each WebSocket, which gets the first of `subprotocols`."""

    def __init__(
        self,
        handler: Handler,
        visit: Callable[[Visit], Awaitable[None]] | None = None,
        subprotocols: Sequence[str] = (),
        name: str = "memory",
    ) -> None:
        self.name = name
        self._handler = handler
        self._visit = visit
        self._subprotocols = subprotocols
        self._visits: set[asyncio.Future[None]] = set()
        self._open = False

    async def open(self) -> None:
        self._open = True

    async def close(self) -> None:
        self._open = False
        visits = list(self._visits)
        for visit in visits:
            visit.cancel()
        await asyncio.gather(*visits, return_exceptions=True)

    async def ping(self) -> None:
        if not self._open:
            raise DestinationError(f"{self.name} is not open", "destination_closed", 503)

    async def send(self, outbound: Outbound) -> MemoryReply:
        await self.ping()
        try:
            answer = await self._handler(outbound)
        except DestinationError as error:
            error.upstream = self.name
            raise
        return MemoryReply(answer, self.name, bodyless=outbound.method == "HEAD" or answer.status in BODYLESS)

    async def connect(self, target: str, headers: Headers, subprotocols: Sequence[str]) -> MemorySocket:
        await self.ping()
        if self._visit is None:
            raise DestinationError(f"{self.name} has no WebSockets", "websocket_unsupported", 502)
        near, far = pair(next((one for one in subprotocols if one in self._subprotocols), None))
        visit = asyncio.ensure_future(self._visit(Visit(target, headers, far)))
        self._visits.add(visit)
        visit.add_done_callback(self._visits.discard)
        return near


async def _pieces(body: bytes | AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    if isinstance(body, bytes):
        yield body
        return
    try:
        async for piece in body:
            yield piece
    finally:
        if isinstance(body, AsyncGenerator):
            await body.aclose()
