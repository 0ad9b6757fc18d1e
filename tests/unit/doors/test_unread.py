"""A caller who does not read what is written for him is cut off: while there is more of it, and when that was all; others are not."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from router.doors import unread
from router.doors.http1 import GuardedHttp
from router.processes.server import Server, server, started
from tests.e2e.authority import Authority
from tests.unit.doors.test_http1 import HANDSHAKE, MEGABYTE, PATIENCE_S, until

REQUEST = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
PIECE = bytes(64 * 1024)
LITTLE = 60_000  # of which the kernels take some, and the rest is less than what stops a writer
PATIENT_S = 0.2


@asynccontextmanager
async def listening(
    app: Callable[..., Any], *, patience: float = PATIENT_S, secure: ssl.SSLContext | None = None, **settings: Any
) -> AsyncIterator[Server]:
    """With buffers of the kernel that are as small as may be."""
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    running = server(app, http=type("Guarded", (GuardedHttp,), {"send_timeout": patience}), grace_s=1, messages=MEGABYTE, ssl=secure)
    running.patience_s = patience
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


def enduring(heard: list[str]) -> Callable[..., Any]:
    """Of a stream and a WebSocket somebody waits for the caller to leave; another answer is whole at once."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "bytes": bytes(LITTLE)})
            heard.append((await receive())["type"])
        elif scope["path"] == "/stream":
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
            await send({"type": "http.response.body", "body": bytes(LITTLE), "more_body": True})
            heard.append((await receive())["type"])
        else:
            await answering(LITTLE)(scope, receive, send)
            heard.append("whole")

    return app


ENDURING = pytest.mark.parametrize(
    ("said", "told"),
    [(REQUEST, "whole"), (REQUEST.replace(b"/", b"/stream", 1), "http.disconnect"), (HANDSHAKE, "websocket.disconnect")],
    ids=["kept alive", "stream", "websocket"],
)


@ENDURING
async def test_who_has_no_more_to_say_and_does_not_read_is_cut_off(said: bytes, told: str) -> None:
    """The loop closes such a connection by itself, once all is read, and tells nobody before."""
    heard: list[str] = []
    async with listening(enduring(heard)) as running, asking(running, said) as caller:
        await asyncio.sleep(0.1)
        caller.shutdown(socket.SHUT_WR)
        await until(lambda: not running.server_state.connections)
        await until(lambda: heard)
    assert heard == [told]


class Caller:
    """Over TLS. Reads when it likes to."""

    def __init__(self, authority: Authority, running: Server) -> None:
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        plain.connect(running.servers[0].sockets[0].getsockname())
        self.connection = ssl.create_default_context(cafile=str(authority.ca)).wrap_socket(plain, server_hostname="localhost")

    def part(self, properly: bool) -> None:
        """Says that it says no more: in TLS, or below."""
        if not properly:
            socket.socket.shutdown(self.connection, socket.SHUT_WR)
            return
        self.connection.setblocking(False)
        with suppress(ssl.SSLError):
            self.connection.unwrap()

    def read(self) -> bytes:
        got = b""
        while piece := self.connection.recv(1024):
            got += piece
            time.sleep(0.01)
        return got


@asynccontextmanager
async def securely(folder: Path, app: Callable[..., Any], said: bytes = REQUEST, **settings: Any) -> AsyncIterator[tuple[Server, Caller]]:
    authority, secure = Authority(folder), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secure.load_cert_chain(*map(str, authority.issue("server")))
    async with listening(app, secure=secure, **settings) as running:
        caller = await asyncio.to_thread(Caller, authority, running)
        with caller.connection:
            caller.connection.sendall(said)
            yield running, caller


@pytest.mark.parametrize("properly", [True, False], ids=["in TLS", "below"])
@ENDURING
async def test_below_tls_nobody_is_waited_for_either(tmp_path: Path, said: bytes, told: str, properly: bool) -> None:
    """There the loop closes, too, and writes nothing more."""
    heard: list[str] = []
    async with securely(tmp_path, enduring(heard), said) as (running, caller):
        await asyncio.sleep(0.1)
        caller.part(properly)
        await until(lambda: not running.server_state.connections)
        await until(lambda: heard)
    assert heard == [told]


async def test_who_reads_slowly_over_tls_gets_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes longer than a goodbye may."""
    monkeypatch.setattr(unread, "GOODBYE_S", 0.1)
    app = answering(LITTLE, (b"connection", b"close"))
    async with securely(tmp_path, app, patience=PATIENCE_S) as (_, caller):
        got = await asyncio.to_thread(caller.read)
    assert len(got.partition(b"\r\n\r\n")[2]) == LITTLE


async def test_who_has_everything_and_says_no_goodbye_is_waited_for_shortly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection has nothing under way."""
    monkeypatch.setattr(unread, "GOODBYE_S", 0.1)
    async with securely(tmp_path, answering(2), patience=60) as (running, _):
        await until(lambda: running.server_state.total_requests)
        running.stop()
        await until(lambda: not running.server_state.connections)
