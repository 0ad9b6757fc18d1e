"""A response on its way through: pieces as they arrive, bounded in time, and the accounts settled exactly once."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable

from adapters.http_upstream.call import Call
from adapters.http_upstream.client import Exchange
from adapters.http_upstream.failures import failure
from adapters.http_upstream.upstream import Upstream
from router.errors import DestinationError
from router.ports import Headers

Settle = Callable[[Upstream, int, bool | None], None]


class HttpReply:
    """`settle` is called once, with upstream, status and a verdict: True when the body came to its end, False when the upstream failed,
    None when the caller left."""

    __slots__ = ("_call", "_deadline", "_exchange", "_settle", "_upstream", "attempts", "headers", "status", "upstream", "work")

    def __init__(self, exchange: Exchange, upstream: Upstream, call: Call, settle: Settle) -> None:
        self.status: int = exchange.status
        self.headers: Headers = exchange.headers
        self.upstream = upstream.origin
        self.work = ""
        self._upstream = upstream
        self.attempts = call.attempt
        self._exchange = exchange
        self._call = call
        self._deadline = math.inf if is_stream(exchange.headers) else call.deadline
        self._settle: Settle | None = settle

    def __repr__(self) -> str:
        return f"HttpReply({self.status}, upstream={self.upstream}, attempts={self.attempts})"

    async def chunks(self) -> AsyncIterator[bytes]:
        ended = self._exchange.done
        while not ended:
            chunk = await self._next()
            ended = self._exchange.done
            if ended:
                self._done(True)
            if chunk:
                yield chunk
        self._done(True)

    async def close(self) -> None:
        self._done(True if self._exchange.done else None)
        await self._exchange.close()

    async def _next(self) -> bytes:
        bound = self._call.bound
        bound.until = min(asyncio.get_running_loop().time() + self._call.idle, self._deadline)
        try:
            with bound:
                return await self._exchange.read()
        except DestinationError as error:
            await self._broken(error)
            raise
        except TimeoutError:
            if not bound.expired:
                raise
            over = late(bound.until >= self._deadline)
            await self._broken(over)
            raise over from None

    async def _broken(self, error: DestinationError) -> None:
        error.upstream, error.attempts = self.upstream, self.attempts
        self._done(False)
        await self._exchange.close()

    def _done(self, ended: bool | None) -> None:
        settle, self._settle = self._settle, None
        if settle is not None:
            self._call.over()
            settle(self._upstream, self.status, ended)


def late(total: bool) -> DestinationError:
    if total:
        return failure("upstream_timeout", "the upstream was not done within the total time allowed", sent=True)
    return failure("upstream_idle", "the upstream sent nothing for longer than allowed", sent=True)


def is_stream(headers: Headers) -> bool:
    for name, value in headers:
        if name == b"content-type":
            return value[:17].lower() == b"text/event-stream"
    return False
