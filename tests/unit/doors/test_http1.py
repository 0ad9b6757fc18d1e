"""Nobody can keep a connection, or us, waiting for ever; and a header is only what came before the body."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from router.doors.http1 import GuardedHttp
from router.doors.under_way import UnderWay
from router.processes.drained import Drainable
from router.processes.server import server, started

Asked = list[dict[str, Any]]
PATIENCE_S = 30.0
MEGABYTE = 1 << 20
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
CHUNKED = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"


def answering(asked: Asked, read: bool = True) -> Callable[..., Any]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while read and (await receive()).get("more_body"):
            pass
        asked.append(dict(scope))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    return app


@asynccontextmanager
async def listening(app: Callable[..., Any], keep_alive: int = 75, messages: int | None = None, **limits: Any) -> AsyncIterator[int]:
    sock = socket.create_server(("127.0.0.1", 0))
    running = server(app, http=type("Guarded", (GuardedHttp,), limits), grace_s=1, messages=messages)
    running.config.timeout_keep_alive = keep_alive
    task = asyncio.create_task(running.serve([sock]))
    await started(running, task)
    try:
        yield sock.getsockname()[1]
    finally:
        running.stop()
        running.force_exit = True
        await task


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def ends(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(PATIENCE_S):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def until(question: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not question():  # noqa: ASYNC110  # what is asked about is the server's, and tells nobody
            await asyncio.sleep(0.01)


async def test_trailers_are_no_header_fields() -> None:
    """Also when they arrive together with the header: a proxy that cleans headers does not look at trailers."""
    asked: Asked = []
    async with listening(answering(asked)) as port, connected(port) as (reader, writer):
        writer.write(CHUNKED + b"2\r\nhi\r\n0\r\nx-forwarded-for: 10.1.1.1\r\nauthorization: Bearer x\r\n\r\n")
        await reader.readuntil(b"ok")
    assert [name for name, _ in asked[0]["headers"]] == [b"host", b"transfer-encoding"]


async def test_a_caller_who_does_not_read_is_cut_off() -> None:
    """A response that finds no room for long ends the connection, and whoever wrote it goes on."""
    done = asyncio.Event()

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(2000):
            await send({"type": "http.response.body", "body": bytes(64 * 1024), "more_body": True})
        done.set()

    async with listening(endless, send_timeout=0.1) as port, connected(port) as (reader, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport reads
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        async with asyncio.timeout(PATIENCE_S):
            await done.wait()
        assert not reader.at_eof()


async def test_the_rest_of_a_refused_body_is_not_taken_for_ever() -> None:
    """Once the answer is out, a body that goes on and on is cut off."""
    async with listening(answering([], read=False), linger=0.1) as port, connected(port) as (reader, writer):
        writer.write(CHUNKED + b"2\r\nhi\r\n")
        assert (await ends(reader)).endswith(b"ok")


async def test_the_rest_of_a_body_does_not_end_the_connection() -> None:
    """A body that ends in time leaves a connection that serves the next request."""
    async with listening(answering([], read=False)) as port, connected(port) as (reader, writer):
        writer.write(CHUNKED + b"2\r\nhi\r\n")
        await reader.readuntil(b"ok")
        writer.write(b"0\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n")
        async with asyncio.timeout(PATIENCE_S):
            await reader.readuntil(b"ok")


async def test_empty_lines_keep_no_connection_open() -> None:
    """They begin no request, so the keep-alive time goes on to count."""
    async with listening(answering([]), keep_alive=1) as port, connected(port) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        await reader.readuntil(b"ok")
        writer.write(b"\r\n")
        assert await ends(reader) == b""


async def test_connections_are_bounded() -> None:
    """One too many is closed at once; the others are served."""
    async with listening(answering([]), max_connections=1) as port, connected(port) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        await reader.readuntil(b"ok")
        async with connected(port) as (second, _):
            assert await ends(second) == b""
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        async with asyncio.timeout(PATIENCE_S):
            await reader.readuntil(b"ok")


async def test_a_refused_header_opens_no_websocket() -> None:
    """What did not fit is missing from it, so nobody may act on it."""
    asked: Asked = []
    async with listening(answering(asked), messages=MEGABYTE, max_header_count=5) as port, connected(port) as (reader, writer):
        fields = (
            b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        )
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n" + fields + b"authorization: x\r\n\r\n")
        assert (await ends(reader)).startswith(b"HTTP/1.1 431 ")
    assert asked == []


async def test_who_leaves_says_so_and_lets_idle_connections_be() -> None:
    """What is answered from then on is the last of its connection, also where it was asked before. A connection on which nothing is asked
    is not closed, and keeps on when it is taken back."""
    waiting, let = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            waiting.set()
            await let.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    sock = socket.create_server(("127.0.0.1", 0))
    http = type("Guarded", (GuardedHttp,), {})
    running = server(app, http=http, grace_s=1)
    task = asyncio.create_task(running.serve([sock]))
    await started(running, task)
    port = sock.getsockname()[1]
    try:
        async with connected(port) as slow, connected(port) as idle, connected(port) as kept:
            slow[1].write(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
            await waiting.wait()
            assert b"close" not in await _asked(*idle)
            assert b"close" not in await _asked(*kept)
            drainable = Drainable(UnderWay(), http=http, servers=[running])
            drainable.drain(True)
            assert drainable.busy()["connections"] == 3
            let.set()
            assert b"connection: close" in await ends(slow[0])
            assert b"connection: close" in await _asked(*idle)
            assert await ends(idle[0]) == b""
            drainable.drain(False)
            assert b"close" not in await _asked(*kept)
            assert b"close" not in await _asked(*kept)
    finally:
        running.stop()
        running.force_exit = True
        await task


@pytest.mark.parametrize("queued", [b"", b"GET /b HTTP/1.1\r\nhost: a\r\n\r\n"], ids=["one", "two"])
async def test_what_is_broken_costs_those_before_it_no_answer(queued: bytes) -> None:
    """The body of a request that waits for its turn cannot be read: what was whole is answered, and then the connection ends."""
    asked: Asked = []
    let = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope)
        await let.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    async with listening(app) as port, connected(port) as (reader, writer):
        writer.write(b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n" + queued + CHUNKED + b"nothing\r\n")
        await until(lambda: asked)
        await asyncio.sleep(0.05)
        let.set()
        said = await ends(reader)
    wanted = [b"/a", b"/b"][: 2 if queued else 1]
    assert [each[-2:] for each in said.split(b"HTTP/1.1 200 OK")[1:]] == wanted
    assert [each["path"].encode() for each in asked] == wanted


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1\r\nhost: a\r\nx: ",
        b"GET / HTTP/1.1\r\nhost: a\r\nx",
        CHUNKED + b"2;x=",
        CHUNKED + b"2\r\nhi\r\n0\r\nx: ",
        b"\r\n",
    ],
    ids=["value", "name", "chunk", "trailer", "empty"],
)
async def test_a_line_that_does_not_end_is_not_kept(line: bytes) -> None:
    """The parser tells of it when it has all of it, and until then nobody else would look."""
    async with listening(answering([]), max_header_bytes=1024, header_timeout=1) as port, connected(port) as (reader, writer):
        for piece in (line, *[(b"\r\n" if line == b"\r\n" else b"aa") * 300] * 2):
            writer.write(piece)
            await asyncio.sleep(0.05)
        assert (await ends(reader)).startswith(b"HTTP/1.1 431 ")


async def test_no_more_than_so_many_requests_wait_behind_one() -> None:
    """However many come with every answer; those are answered, and then the connection ends."""
    most, waiting = 0, list[int]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal most
        await asyncio.sleep(0.001)
        (connection,) = running.server_state.connections
        most = max(most, len(connection.pipeline))
        waiting.append(len(waiting))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    sock = socket.create_server(("127.0.0.1", 0))
    running = server(app, http=type("Guarded", (GuardedHttp,), {"max_waiting": 10}), grace_s=1)
    task = asyncio.create_task(running.serve([sock]))
    await started(running, task)
    try:
        async with connected(sock.getsockname()[1]) as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" * 10)
            async with asyncio.timeout(PATIENCE_S):
                for _ in range(10):
                    assert b"connection: close" not in await reader.readuntil(b"ok")
            writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" * 3000)
            said = await ends(reader)
    finally:
        running.stop()
        running.force_exit = True
        await task
    assert said.count(b"HTTP/1.1 200 OK") == said.count(b"ok") == 11
    assert said.count(b"connection: close") == 1
    assert said.rpartition(b"HTTP/1.1 200 OK")[2].count(b"connection: close") == 1
    assert (most, len(waiting)) == (10, 21)


async def test_a_websocket_waits_for_nobody() -> None:
    """Behind requests that are under way it is refused: they are answered in their order, and nothing comes between or after."""
    asked: Asked = []
    let = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": scope["path"].encode(), "more_body": True})
        await let.wait()
        await send({"type": "http.response.body", "body": b"ok"})

    async with listening(app, messages=MEGABYTE) as port, connected(port) as (reader, writer):
        writer.write(b"GET /a HTTP/1.1\r\nhost: a\r\n\r\nGET /b HTTP/1.1\r\nhost: a\r\n\r\n" + HANDSHAKE)
        await reader.readuntil(b"/a")
        await asyncio.sleep(0.05)
        let.set()
        said = await ends(reader)
    assert (said[:2], said.count(b"HTTP/1.1 200 "), said[-4:]) == (b"ok", 1, b"/bok")
    assert [each["path"] for each in asked] == ["/a", "/b"]


async def test_a_websocket_follows_requests_that_were_answered() -> None:
    """On the same connection."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await answering([])(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    async with listening(app, messages=MEGABYTE) as port, connected(port) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi")
        await reader.readuntil(b"ok")
        writer.write(HANDSHAKE)
        async with asyncio.timeout(PATIENCE_S):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize("behind", [b"", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", HANDSHAKE], ids=["nothing", "a request", "a websocket"])
async def test_who_answers_hears_that_its_caller_left(behind: bytes) -> None:
    """Also where the caller asked for more before it went."""
    began, left = asyncio.Event(), asyncio.Event()

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        began.set()
        if (await receive())["type"] == "http.disconnect":
            left.set()

    async with listening(endless, messages=MEGABYTE) as port:
        async with connected(port) as (_, writer):
            writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" + behind)
            await began.wait()
            await asyncio.sleep(0.05)
        async with asyncio.timeout(PATIENCE_S):
            await left.wait()


async def _asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    async with asyncio.timeout(PATIENCE_S):
        return await reader.readuntil(b"ok")


@pytest.mark.parametrize("more", [b"G", b"GET /x", b"GET /x HTTP/1.1\r\nhost"])
async def test_what_does_not_follow_in_time_takes_no_answer_from_what_came_before(more: bytes) -> None:
    """However little of the next request is there, the one before it was whole; its answer is the last."""
    late = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await late.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    class Told(GuardedHttp):
        header_timeout = 0.05

        def _late(self) -> None:
            super()._late()
            late.set()

    sock = socket.create_server(("127.0.0.1", 0))
    running = server(app, http=Told, grace_s=1)
    task = asyncio.create_task(running.serve([sock]))
    await started(running, task)
    async with connected(sock.getsockname()[1]) as (reader, writer), asyncio.timeout(PATIENCE_S):
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" + more)
        said = await reader.read()
    assert said.startswith(b"HTTP/1.1 200")
    assert said.endswith(b"ok")
    running.stop()
    await task
