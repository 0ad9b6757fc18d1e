"""One connection to a Redis server, on which questions follow each other without waiting for answers (RESP2, pipelined).

A library's pool would connect, log in and wait for a free connection while a request waits. Here a request only ever writes to a connection
that stands, and a late answer costs nobody but who asked.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any

import hiredis

from adapters.redis_state.failures import DENIED, LOST, late, translated
from router.errors import ConfigError, StateError
from router.settings import Address

Part = str | bytes | int
_NOTHING = object()
MOST_UNSENT = 16 << 20
"""Bytes that wait for the server to take them, beyond which nothing more is asked; until then what is asked waits behind them, no longer
than its time. One answer of a service may be megabytes, and is no reason to end a connection."""
_STALLED_S = 0.005
"""A timer that fires so much later than it should was kept from it by our own process: the answer may be there, unread."""


@dataclass(frozen=True, slots=True)
class Access:
    """How servers are spoken to. `password` is asked for at each login, for it may have been exchanged; it raises ConfigError. `failures`:
    so many late answers in a row end a connection."""

    username: str | None = None
    password: Callable[[], str] | None = field(default=None, repr=False)
    ssl: SSLContext | None = None
    connect_within: float = 1.0
    failures: int = 3


class Link(asyncio.Protocol):
    """`lost` is set when the connection has ended; every question is then answered by a StateError."""

    def __init__(self, address: Address, failures: int) -> None:
        self.address = address
        self.lost = asyncio.Event()
        self._failures = failures
        self._late = 0
        self._full = False
        self._transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._outgoing: list[bytes] = []
        self._written = 0
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._loop = asyncio.get_running_loop()

    def __repr__(self) -> str:
        return f"Link({self.address}, waiting={len(self._waiting)}, late={self._late})"

    async def ask(self, *command: Part, until: float) -> Any:
        """The answer, bytes for text. `until` is the loop's time. Raises StateError; the server may have done it all the same."""
        if self._transport is None or self.lost.is_set():
            raise StateError(f"The connection to Redis at {self.address} is gone.", LOST)
        if self._full:
            raise late(self.address)
        answer = self._loop.create_future()
        self._waiting.append(answer)
        if not self._outgoing:  # questions of one turn of the loop go out together
            self._loop.call_soon(self._flush)
        self._outgoing.append(hiredis.pack_command(command))  # type: ignore[arg-type]  # of any length, unlike its stub
        timer = self._loop.call_at(until, self._expire, answer, until, self.taken)
        try:
            return await answer
        except hiredis.ReplyError as error:
            raise translated(self.address, error) from None
        finally:
            timer.cancel()

    def _flush(self) -> None:
        out, self._outgoing = b"".join(self._outgoing), []
        if self._transport is not None and not self.lost.is_set():
            self._written += len(out)
            self._transport.write(out)

    @property
    def _unsent(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    @property
    def taken(self) -> int:
        """Bytes, by the system or by the server."""
        return self._written - self._unsent

    def takes(self, before: int) -> bool:
        """Whether it still takes what came earlier, more than `taken` was: whoever waits behind that waits for no server that hangs."""
        return self._unsent > 0 and self.taken > before

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(high=MOST_UNSENT)

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not _NOTHING:
                self._answered(self._waiting.popleft(), answer)
        except (hiredis.ProtocolError, IndexError):  # whatever this is, it does not speak Redis' protocol
            self.close()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set()
        while self._waiting:
            answer = self._waiting.popleft()
            if not answer.done():
                answer.set_exception(StateError(f"The connection to Redis at {self.address} broke.", LOST))

    def _answered(self, waiting: asyncio.Future[Any], answer: Any) -> None:
        if waiting.done():  # too late, or its caller has gone
            return
        self._late = 0
        if isinstance(answer, hiredis.ReplyError):
            waiting.set_exception(answer)
        else:
            waiting.set_result(answer)

    def _expire(self, waiting: asyncio.Future[Any], until: float, taken: int, *, again: bool = False) -> None:
        """`taken`: how much was when it was asked. While what is before it goes out, the server does not hang."""
        if waiting.done():
            return
        now = self._loop.time()
        if now - until > _STALLED_S and not again:
            self._loop.call_later(_STALLED_S, lambda: self._expire(waiting, now, taken, again=True))
            return
        if not self.takes(taken):
            self._late += 1
        waiting.set_exception(late(self.address))
        if self._late >= self._failures:
            self.close()


async def connect(address: Address, access: Access) -> Link:
    """A link that is logged in and answers. Raises StateError."""
    loop = asyncio.get_running_loop()
    until, link = loop.time() + access.connect_within, None
    try:
        async with asyncio.timeout_at(until):
            name = address.host if access.ssl is not None else None
            make = loop.create_connection(
                lambda: Link(address, access.failures), address.host, address.port, ssl=access.ssl, server_hostname=name
            )
            _, link = await make
        if access.password is not None:
            user = () if access.username is None else (access.username,)
            await link.ask("AUTH", *user, access.password(), until=until)
        await link.ask("PING", until=until)
    except (OSError, TimeoutError) as error:
        _let_go(link)
        why = getattr(error, "strerror", None) or str(error) or "no answer in time"
        raise StateError(f"Redis at {address} cannot be reached: {why}.", LOST) from error
    except ConfigError as error:
        _let_go(link)
        raise StateError(f"There is no password for Redis at {address}: {error}", DENIED) from error
    except BaseException:
        _let_go(link)
        raise
    return link


def _let_go(link: Link | None) -> None:
    if link is not None:
        link.close()
