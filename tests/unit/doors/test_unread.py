"""A caller who does not read what is written for him is cut off: while there is more of it, and when that was all; others are not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from router.doors.http1 import GuardedHttp
from router.processes.server import Server, server, started
from tests.unit.doors.test_http1 import HANDSHAKE, MEGABYTE, PATIENCE_S, until

REQUEST = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
PIECE = bytes(64 * 1024)
LITTLE = 60_000  # of which the kernels take some, and the rest is less than what stops a writer
PATIENT_S = 0.2


@asynccontextmanager
async def listening(app: Callable[..., Any], *, patience: float = PATIENT_S, **settings: Any) -> AsyncIterator[Server]:
    """With buffers of the kernel that are as small as may be."""
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    running = server(app, http=type("Guarded", (GuardedHttp,), {"send_timeout": patience}), grace_s=1, messages=MEGABYTE)
    for name, value in settings.items():
        setattr(running.config, name, value)
    task = asyncio.create_task(running.serve([sock]))
    await started(running, task)
    try:
        yield running
    finally:
        running.stop()
        running.force_exit = True
        await task


@asynccontextmanager
async def asking(running: Server, said: bytes) -> AsyncIterator[socket.socket]:
    """A caller who reads when he likes to."""
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        caller.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(caller, running.servers[0].sockets[0].getsockname())
        await loop.sock_sendall(caller, said)
        yield caller


def answering(size: int, *fields: tuple[bytes, bytes]) -> Callable[..., Any]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size), *fields]})
        await send({"type": "http.response.body", "body": bytes(size)})

    return app


@pytest.mark.parametrize(
    ("app", "settings"),
    [(answering(LITTLE, (b"connection", b"close")), {}), (answering(LITTLE), {"timeout_keep_alive": 0.1})],
    ids=["the last", "kept alive"],
)
async def test_what_is_left_at_the_end_holds_no_connection(app: Callable[..., Any], settings: dict[str, Any]) -> None:
    """Also where it is too little to stop who writes it."""
    async with listening(app, **settings) as running, asking(running, REQUEST):
        await until(lambda: running.server_state.total_requests)
        await until(lambda: not running.server_state.connections)


async def test_who_reads_slowly_gets_everything() -> None:
    """The connection is closed from here, and ends when the last byte is read."""
    app = answering(LITTLE, (b"connection", b"close"))
    async with listening(app, patience=0.4) as running, asking(running, REQUEST) as caller:
        got, loop = b"", asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE_S * 3):
            while piece := await loop.sock_recv(caller, 1024):
                got += piece
                await asyncio.sleep(0.01)
        await until(lambda: not running.server_state.connections)
    assert len(got.partition(b"\r\n\r\n")[2]) == LITTLE


async def test_a_websocket_that_is_not_read_is_cut_off() -> None:
    """Whoever writes to it hears that the caller is gone, as does whoever listens."""
    left: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        try:
            while True:
                await send({"type": "websocket.send", "bytes": PIECE})
        except OSError as error:
            left.append(error)
            left.append(await receive())

    async with listening(app) as running, asking(running, HANDSHAKE):
        await until(lambda: len(left) == 2)
        assert not running.server_state.connections
    assert left[1]["type"] == "websocket.disconnect"


async def test_a_websocket_that_answers_no_ping_ends_for_who_listens() -> None:
    """Though something is left that nobody reads."""
    left: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "bytes": bytes(LITTLE)})
        left.append(await receive())

    settings = {"ws_ping_interval": 0.1, "ws_ping_timeout": 0.1}
    async with listening(app, patience=60, **settings) as running, asking(running, HANDSHAKE):
        await until(lambda: left)
        assert not running.server_state.connections
    assert left[0]["type"] == "websocket.disconnect"


async def test_a_websocket_that_is_closed_and_not_read_is_cut_off() -> None:
    """It has said that it goes, and does not look at what is left."""
    ended = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "bytes": bytes(LITTLE)})
        await receive()
        ended.set()

    async with listening(app) as running, asking(running, HANDSHAKE) as caller:
        await asyncio.sleep(0.1)
        caller.send(b"\x88\x80\x00\x00\x00\x00")
        async with asyncio.timeout(PATIENCE_S):
            await ended.wait()
        await until(lambda: not running.server_state.connections)


async def test_a_websocket_takes_over_who_does_not_read() -> None:
    """An answer before it that was not read is not forgotten."""
    began = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await answering(4 * len(PIECE))(scope, receive, send)
            return
        began.set()
        await asyncio.Event().wait()

    async with listening(app) as running, asking(running, REQUEST) as caller:
        await until(lambda: running.server_state.total_requests)
        caller.send(HANDSHAKE)
        async with asyncio.timeout(PATIENCE_S):
            await began.wait()
        (connection,) = running.server_state.connections
        await until(lambda: not running.server_state.connections)
        assert not isinstance(connection, GuardedHttp)


async def test_a_websocket_that_is_read_again_goes_on() -> None:
    """Who catches up in time is not cut off later."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await answering(4 * len(PIECE))(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        await asyncio.sleep(0.8)
        await send({"type": "websocket.send", "text": "there"})
        await receive()

    async with listening(app, patience=0.4) as running, asking(running, REQUEST) as caller:
        await until(lambda: running.server_state.total_requests)
        caller.send(HANDSHAKE)
        got, loop = b"", asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE_S):
            while not got.endswith(b"there") and (piece := await loop.sock_recv(caller, 1 << 16)):
                got += piece
    assert b"HTTP/1.1 101 " in got
    assert got.endswith(b"there")
