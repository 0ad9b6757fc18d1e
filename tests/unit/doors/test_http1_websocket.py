"""A WebSocket's handshake is one or is refused, at once; and a stop reaches everybody, whatever one of them did."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from router.doors.http1 import GuardedHttp
from router.processes.server import server, started
from tests.unit.doors.test_http1 import MEGABYTE, PATIENCE_S, Asked, answering, connected, ends, listening, until
from tests.unit.doors.test_unread import listening as serving

UP = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
HANDSHAKE = b"GET /a HTTP/1.1\r\nhost: a\r\n" + UP + b"\r\n"
TEXT = b"\x81\x82\x00\x00\x00\x00hi"
CLOSE = b"\x88\x80\x00\x00\x00\x00"
PIECE = bytes(64 * 1024)


def asking(*fields: bytes, target: bytes = b"/a", behind: bytes = b"") -> bytes:
    return b"GET %b HTTP/1.1\r\nhost: a\r\n" % target + UP + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + behind


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (asking(b"content-length: 1"), (b"400", b"websocket_malformed")),
        (asking(b"content-length: 2", behind=b"hi"), (b"400", b"websocket_malformed")),
        (asking(b"transfer-encoding: chunked"), (b"400", b"websocket_malformed")),
        (asking(behind=TEXT), (b"400", b"websocket_malformed")),
        (asking(b"x-long: " + b"a" * 9000), (b"431", b"header_too_large")),
        (asking(target=b"/" + b"a" * 9000), (b"431", b"header_too_large")),
        (asking(*(b"x-%d: a" % number for number in range(150))), (b"431", b"too_many_headers")),
    ],
    ids=["body", "body that is there", "chunked", "early frame", "long field", "long target", "many fields"],
)
async def test_what_is_no_handshake_is_refused_at_once(asked: bytes, told: tuple[bytes, bytes]) -> None:
    """Nobody is asked about it, and it takes nobody's place."""
    seen: Asked = []
    limits = {"max_header_count": 200, "max_connections": 1}
    async with listening(answering(seen), messages=MEGABYTE, **limits) as port:
        for _ in range(2):
            async with connected(port) as (reader, writer):
                writer.write(asked)
                answer = await ends(reader)
            assert (answer[9:12], told[1] in answer) == (told[0], True)
    assert seen == []


async def test_a_handshake_that_the_library_refuses_is_answered() -> None:
    """Without a key it is 400, and the connection ends."""
    async with listening(answering([]), messages=MEGABYTE) as port, connected(port) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        assert (await ends(reader)).startswith(b"HTTP/1.1 400 ")


async def test_who_speaks_before_the_handshake_is_answered_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    """Whether what it says is a frame or not; who was about to answer hears that it is gone, and nothing fails."""
    heard: list[BaseException] = []
    waiting, let = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        waiting.set()
        await let.wait()
        try:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": "hello"})
        except OSError as error:
            heard.append(error)

    async with listening(app, messages=MEGABYTE) as port:
        for early in (TEXT, b"\xff" * 20, CLOSE):
            waiting.clear()
            let.clear()
            async with connected(port) as (reader, writer):
                writer.write(HANDSHAKE)
                await waiting.wait()
                writer.write(early)
                assert await ends(reader) == b""
                let.set()
    assert len(heard) == 3
    assert caplog.records == []


async def test_who_leaves_before_the_handshake_is_answered_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """Though an answer before it is not read yet; who was about to answer does not take it for a mistake of its own."""
    heard: list[str] = []
    waiting, let = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % (8 * MEGABYTE))]})
            await send({"type": "http.response.body", "body": bytes(8 * MEGABYTE)})
            return
        await receive()
        waiting.set()
        await let.wait()
        try:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": "hello"})
        except OSError:
            heard.append("gone")

    async with listening(app, messages=MEGABYTE) as port, connected(port) as (_, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport reads
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        await asyncio.sleep(0.05)
        writer.write(HANDSHAKE)
        await waiting.wait()
        writer.write_eof()
        await asyncio.sleep(0.05)
        let.set()
        await until(lambda: heard)
    assert caplog.records == []


def hearing(heard: list[Any]) -> Callable[..., Any]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while not heard or heard[-1]["type"] != "websocket.disconnect":
            heard.append(await receive())

    return app


def frame(kind: int, size: int) -> bytes:
    """`kind`: the first byte; masked with nothing."""
    return bytes((kind, 0xFE)) + size.to_bytes(2, "big") + bytes(4 + size)


def small(kind: int, data: bytes) -> bytes:
    """A frame of at most 125 bytes; `kind`: the first byte; masked with nothing."""
    return bytes((kind, 0x80 | len(data))) + bytes(4) + data


@pytest.mark.parametrize("too_much", [frame(0x81, 1025), frame(0x01, 1024) + frame(0x80, 200)], ids=["at once", "in parts"])
async def test_a_message_that_is_too_long_ends_the_websocket(too_much: bytes) -> None:
    """With 1009, for both; one that is just as long as it may be passes."""
    heard: list[Any] = []
    async with listening(hearing(heard), messages=1024) as port, connected(port) as (reader, writer):
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(frame(0x81, 1024))
        await until(lambda: heard)
        writer.write(too_much)
        said = await ends(reader)
    assert (said[:1], said[2:4]) == (b"\x88", (1009).to_bytes(2, "big"))
    assert (len(heard[0]["text"]), heard[1]["code"]) == (1024, 1009)


async def test_who_speaks_to_a_websocket_that_had_to_end_hears_that_it_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    """As of any that ended; it is no mistake of his."""
    heard: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        heard.append((await receive())["type"])
        for message in ({"type": "websocket.send", "text": "x"}, {"type": "websocket.close", "code": 1000}):
            try:
                await send(message)
            except OSError:
                heard.append(message["type"])

    async with listening(app, messages=1024) as port, connected(port) as (reader, writer):
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(frame(0x81, 1025))
        await ends(reader)
        await until(lambda: len(heard) == 3)
    assert heard == ["websocket.disconnect", "websocket.send", "websocket.close"]
    assert caplog.records == []


@pytest.mark.parametrize("kind", [0x01, 0x02], ids=["text", "bytes"])
async def test_a_message_in_many_parts_takes_no_more_than_what_is_in_it(kind: int) -> None:
    """Also where nothing is in them, and there is no end."""
    heard: list[Any] = []
    async with serving(hearing(heard)) as running, connected(running.servers[0].sockets[0].getsockname()[1]) as (reader, writer):
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        (connection,) = running.server_state.connections
        writer.write(small(kind, b"a") + small(0x00, b"") * 5000 + small(0x00, b"b") * 500)
        await until(lambda: connection.frames and len(connection.frames[0]) == 501)
        assert len(connection.frames) == 1
        writer.write(small(0x80, b"c"))
        await until(lambda: heard)
    said = b"a" + b"b" * 500 + b"c"
    assert heard[0].get("text", heard[0].get("bytes")) == (said.decode() if kind == 0x01 else said)


async def test_a_caller_who_does_not_read_is_answered_no_pings() -> None:
    """However many he sends before he is cut off; one who reads is answered each."""
    heard: list[Any] = []
    async with serving(hearing(heard)) as running, connected(running.servers[0].sockets[0].getsockname()[1]) as (reader, writer):
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        (connection,) = running.server_state.connections
        writer.write(small(0x89, b"?"))
        assert await reader.readexactly(3) == b"\x8a\x01?"
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport reads
        connection.pause_writing()
        writer.write(small(0x89, bytes(125)) * 2000 + small(0x81, b"x"))
        await until(lambda: heard)
        assert connection.transport.get_write_buffer_size() == 0
        connection.resume_writing()


async def test_nothing_is_compressed() -> None:
    """Though the caller offers it: what is packed would be unpacked here, and packed again."""
    async with listening(hearing([]), messages=MEGABYTE) as port, connected(port) as (reader, writer):
        writer.write(asking(b"sec-websocket-extensions: permessage-deflate"))
        said = await reader.readuntil(b"\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 101 ")
    assert b"extensions" not in said.lower()


async def test_where_none_is_spoken_a_handshake_is_a_request() -> None:
    """Who may ask for nothing but pages is answered with a page."""
    asked: Asked = []
    async with listening(answering(asked)) as port, connected(port) as (reader, writer):
        writer.write(HANDSHAKE)
        await reader.readuntil(b"ok")
    assert [(each["type"], each["path"]) for each in asked] == [("http", "/a")]


async def deciding(receive: Any, send: Any) -> None:
    """Answers no handshake until it is too late."""
    while (await receive())["type"] != "websocket.disconnect":
        pass
    with suppress(OSError):
        await send({"type": "websocket.accept"})


async def streaming(receive: Any, send: Any) -> None:
    await send({"type": "websocket.accept"})
    with suppress(OSError):
        while True:
            await send({"type": "websocket.send", "bytes": PIECE})


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [(deciding, b""), (streaming, b""), (streaming, CLOSE), (streaming, b"\xff" * 9)],
    ids=["unanswered", "unread", "leaving", "nonsense"],
)
async def test_a_stop_is_told_to_everybody(behaviour: Callable[..., Any], said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever another connection is at: its handshake is not answered, or it does not read, is leaving, or speaks another protocol."""
    began, told = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if scope["path"] == "/a":
            began.set()
            await behaviour(receive, send)
            return
        await send({"type": "websocket.accept"})
        if (await receive())["code"] == 1012:
            told.set()

    sock = socket.create_server(("127.0.0.1", 0))
    running = server(app, http=GuardedHttp, grace_s=1, messages=MEGABYTE)
    task = asyncio.create_task(running.serve([sock]))
    await started(running, task)
    port = sock.getsockname()[1]
    async with connected(port) as (_, writer), connected(port) as (reader, other):
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport reads
        writer.write(HANDSHAKE)
        await began.wait()
        await asyncio.sleep(0.05)
        writer.write(said)
        other.write(HANDSHAKE.replace(b"/a", b"/b"))
        await reader.readuntil(b"\r\n\r\n")
        running.stop()
        async with asyncio.timeout(PATIENCE_S):
            await told.wait()
    await task
    assert [record.message for record in caplog.records if record.exc_info] == []
