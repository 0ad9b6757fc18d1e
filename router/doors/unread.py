"""Who does not read what is written for him is not waited for for ever: neither while there is more of it, nor when that was all.

Below TLS is a connection that nobody here sees: once the caller has ended it from his side, the loop closes it when all is read, and tells
nobody before. So the kernel has a bound, too (`impatient`).
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from contextlib import suppress
from fcntl import ioctl
from typing import Any, cast

SEND_TIMEOUT_S = 30.0
GOODBYE_S = 5.0
ENDING_S = 300.0
_SENT = 0x5411  # SIOCOUTQ of Linux
_AT_ONCE = struct.pack("ii", 1, 0)


class Ending:
    """A transport that ends when it is closed: as long as half of what nobody had read yet is read in `patience` seconds, and in the next
    ones half of the rest, it goes on; then what is left is thrown away. By itself it would wait for a caller who never reads.

    How much is left below TLS nobody tells, only whether there is something: then it goes on for ENDING_S at most, as long as the kernel is
    patient (see `impatient`). Who has everything and says no goodbye is waited for for GOODBYE_S.

    `unfinished`: what is being answered ends with the connection and has not yet, so that an end in due form would say that it had."""

    unfinished = False

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, patience: float) -> None:
        self._transport = transport
        self._loop = loop
        self._patience = patience
        self._timer: asyncio.TimerHandle | None = None
        self._lost = False
        self.write = transport.write  # what is asked of it all the time costs nothing more
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def abort(self) -> None:
        """With a reset: else who reads on finds what the kernel had taken, and behind it an end as of all."""
        connection = self._transport.get_extra_info("socket")
        if connection is not None and not self._lost:  # what is lost may have its number taken by another
            with suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self._transport.abort()

    def close(self) -> None:
        if self.unfinished:
            self.abort()
            return
        self._transport.close()
        if self._timer is not None or self._lost:
            return
        if self._transport.get_extra_info("ssl_object") is None:
            self._wait(self._transport.get_write_buffer_size())
        else:
            self._part(self._loop.time() + ENDING_S)

    def ended(self) -> None:
        self._lost = True
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self, unread: int) -> None:
        if unread:
            self._timer = self._loop.call_later(self._patience, self._look, unread)

    def _look(self, before: int) -> None:
        unread = self._transport.get_write_buffer_size()
        if unread > before // 2:
            self.abort()
        else:
            self._wait(unread)

    def _part(self, until: float, *, arrived: bool = False) -> None:
        self._timer = self._loop.call_later(GOODBYE_S / 2, self._look_below, until, arrived)

    def _look_below(self, until: float, arrived: bool) -> None:
        """Twice nothing: between a full kernel and an empty one the loop may not have come to write more."""
        nothing = not _under_way(self._transport.get_extra_info("socket"))
        if (arrived and nothing) or self._loop.time() >= until:
            self.abort()
        else:
            self._part(until, arrived=nothing)


def _under_way(connection: Any) -> int:
    """Bytes that the kernel has and the other side does not; 0 where it does not say."""
    try:
        return int.from_bytes(ioctl(connection.fileno(), _SENT, bytes(4)), sys.byteorder)
    except (OSError, ValueError):
        return 0


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
        cast(Ending, self.transport).ended()
        super().connection_lost(exc)

    def eof_received(self) -> None:
        """Who has no more to say is closed by the loop, which would wait for ever for one who does not read: so it is closed here."""
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self.send_timeout, self._cut_off)

    def resume_writing(self) -> None:
        self._flowing()
        super().resume_writing()

    def unread(self) -> bool:
        return self.transport.get_write_buffer_size() > 0

    def _cut_off(self) -> None:
        """What is closed has its own time, and over TLS does not say when there is room again."""
        if not self.transport.is_closing():
            self.transport.abort()

    def _flowing(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


def impatient(listening: socket.socket, patience: float) -> None:
    """The kernel ends each connection of it that takes nothing for `patience` seconds of what is there for it (Linux: accepted sockets
    have the option of the one that listens)."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None and listening.family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):
            listening.setsockopt(socket.IPPROTO_TCP, option, int(patience * 1000))
