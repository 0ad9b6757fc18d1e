"""A request body on its way to an upstream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Self

from adapters.http_upstream.watch import Bound


class BodyAbandonedError(Exception):
    """Makes the client library stop an upload nobody waits for any more."""


class Body:
    """A streamed request body that remembers whether it was touched; every piece it yields is a sign of life that moves the bound."""

    def __init__(self, pieces: AsyncIterator[bytes], idle: float, deadline: float) -> None:
        self._pieces = pieces
        self._idle = idle
        self._deadline = deadline
        self.bound: Bound | None = None
        self.touched = False
        self.abandoned = False
        self.error: BaseException | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        self.touched = True
        self._move(self._deadline)  # while we wait for the caller, the upstream owes us nothing
        piece = b""
        while not piece:  # an empty piece must not be sent: in chunked coding it would end the body
            piece = await self._next()
        if self.abandoned:
            raise BodyAbandonedError
        self._move(min(asyncio.get_running_loop().time() + self._idle, self._deadline))
        return piece

    async def _next(self) -> bytes:
        try:
            return await self._pieces.__anext__()
        except StopAsyncIteration:
            raise
        except BaseException as error:
            self.error = error
            raise

    def _move(self, until: float) -> None:
        if self.bound is not None:
            self.bound.until = until
