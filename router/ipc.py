"""Calls between the control process and its workers over an inherited socket pair: both sides may call, many calls at once.

A frame is a 4-byte big-endian length and a msgpack array `[number, kind, payload]`. An answer carries the caller's number with kind
`""` (payload is the value) or `"!"` (payload is `[code, message]`). Frames written in one turn of the event loop leave in one `send`.
There is no authentication: only a process that inherited the socket can speak, and it is as trusted as the one that made it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgpack

from router.errors import LockgateError

Handler = Callable[[Any], Awaitable[Any]]
MAX_FRAME = 64 * 1024 * 1024
ANSWER, FAILURE = "", "!"
log = logging.getLogger("lockgate.ipc")


class RemoteError(LockgateError):
    """The other side answered with an error, or is gone (`peer_gone`), or was asked too much at once (`call_too_large`) or what
    cannot be put into a message (`call_unsendable`)."""

    code = "peer_gone"


class Peer(asyncio.Protocol):
    """One end. `handlers` answer the other side's calls; `closed` is set when the other side goes away."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._out: list[bytes] = []
        self._in = bytearray()
        self._number = 0
        self._transport: asyncio.Transport | None = None
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream transport by construction

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(RemoteError("the other process is gone"))
        self._waiting.clear()
        self.closed.set()

    async def call(self, kind: str, payload: Any = None) -> Any:
        """Raises RemoteError with the other side's code, or `peer_gone`."""
        return await self.begin(kind, payload)

    def begin(self, kind: str, payload: Any = None) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._transport is None:
            future.set_exception(RemoteError("the other process is gone"))
            return future
        self._number += 1
        try:
            self._write(self._number, kind, payload)
        except RemoteError as error:
            future.set_exception(error)
            return future
        except (TypeError, ValueError, OverflowError) as error:  # nothing that can be packed
            future.set_exception(RemoteError(f"'{kind}' cannot be sent: {error}", "call_unsendable"))
            return future
        self._waiting[self._number] = future
        return future

    @property
    def unsent(self) -> int:
        """Bytes that the other side has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def close(self) -> None:
        if self._transport is not None:
            self._flush()
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        buffer = self._in
        buffer += data
        start, available = 0, len(buffer)
        while available - start >= 4:
            (length,) = struct.unpack_from(">I", buffer, start)
            if length > MAX_FRAME:
                log.error("a frame of %d bytes was refused; closing", length)
                self.close()
                return
            if available - start - 4 < length:
                break
            frame = bytes(buffer[start + 4 : start + 4 + length])
            start += 4 + length
            self._frame(*msgpack.unpackb(frame))
        del buffer[:start]

    def _frame(self, number: int, kind: str, payload: Any) -> None:
        if kind in (ANSWER, FAILURE):
            future = self._waiting.pop(number, None)
            if future is not None and not future.done():
                if kind == ANSWER:
                    future.set_result(payload)
                else:
                    future.set_exception(_failure(*payload))
            return
        task = self._loop.create_task(self._answer(number, kind, payload))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, number: int, kind: str, payload: Any) -> None:
        try:
            handler = self._handlers.get(kind)
            if handler is None:
                raise LockgateError(f"this process does not answer '{kind}'", "unknown_call")
            self._write(number, ANSWER, await handler(payload))
        except LockgateError as error:
            self._write(number, FAILURE, [error.code, str(error), error.unsettled])
        except Exception:  # whatever went wrong, the caller must get an answer
            log.exception("the call %r failed", kind)
            self._write(number, FAILURE, ["internal", f"the call '{kind}' failed; see the log", True])

    def _write(self, number: int, kind: str, payload: Any) -> None:
        if self._transport is None:
            return
        frame = msgpack.packb([number, kind, payload])
        if len(frame) > MAX_FRAME:  # the other side would close the connection, and with it every other call
            raise RemoteError(f"'{kind}' is too large for one call ({len(frame)} bytes)", "call_too_large")
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(struct.pack(">I", len(frame)))
        self._out.append(frame)

    def _flush(self) -> None:
        if self._transport is not None and self._out:
            self._transport.write(b"".join(self._out))
        self._out.clear()


async def connect(sock: socket.socket, handlers: Mapping[str, Handler]) -> Peer:
    """Takes over one end of a socket pair."""
    sock.setblocking(False)
    _, peer = await asyncio.get_running_loop().create_connection(lambda: Peer(handlers), sock=sock)
    return peer


def _failure(code: str, sentence: str, unsettled: bool) -> RemoteError:
    failed = RemoteError(sentence, code)
    failed.unsettled = unsettled
    return failed


def heard(answer: asyncio.Future[Any]) -> None:
    """Of a call whose answer nobody waits for: its failure is known, and no surprise."""
    if not answer.cancelled():
        answer.exception()
