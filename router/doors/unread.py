"""Who does not read what is written for him is not waited for for ever: neither while there is more of it, nor when that was all."""

from __future__ import annotations

import asyncio
from typing import Any, cast

SEND_TIMEOUT_S = 30.0


class Ending:
    """A transport that ends when it is closed: as long as half of what nobody had read yet is read in `patience` seconds, and in the next
    ones half of the rest, it goes on; then what is left is thrown away. By itself it would wait for a caller who never reads."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, patience: float) -> None:
        self._transport = transport
        self._loop = loop
        self._patience = patience
        self._timer: asyncio.TimerHandle | None = None
        self.write = transport.write  # what is asked of it all the time costs nothing more
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        self._transport.close()
        if self._timer is None:
            self._wait(self._transport.get_write_buffer_size())

    def ended(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self, unread: int) -> None:
        if unread:
            self._timer = self._loop.call_later(self._patience, self._look, unread)

    def _look(self, before: int) -> None:
        unread = self._transport.get_write_buffer_size()
        if unread > before // 2:
            self._transport.abort()
        else:
            self._wait(unread)


class Patient(asyncio.Protocol):
    """Goes before a protocol of uvicorn's. `send_timeout`: seconds without room for more, and those in which half of the rest is read."""

    send_timeout = SEND_TIMEOUT_S
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        given = transport if isinstance(transport, Ending) else Ending(cast(asyncio.Transport, transport), self.loop, self.send_timeout)
        super().connection_made(cast(asyncio.Transport, given))

    def connection_lost(self, exc: Exception | None) -> None:
        self._flowing()
        super().connection_lost(exc)
        cast(Ending, self.transport).ended()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self.send_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        self._flowing()
        super().resume_writing()

    def unread(self) -> bool:
        return self.transport.get_write_buffer_size() > 0

    def _flowing(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
