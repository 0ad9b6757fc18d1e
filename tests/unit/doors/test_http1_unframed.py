"""A caller of HTTP/1.0 gets an answer that it can read, and hears when it is not whole."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.doors.test_http1 import PATIENCE_S, connected, listening, until
from tests.unit.doors.test_unread import LITTLE, PIECE, asking
from tests.unit.doors.test_unread import listening as serving

ASKED = b"GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n"


def answering(status: int, *fields: tuple[bytes, bytes], whole: bool = True) -> Callable[..., Any]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": list(fields)})
        for piece in (b"ab", b"", b"cde"):
            await send({"type": "http.response.body", "body": b"" if status in (204, 304) else piece, "more_body": True})
        if whole:
            await send({"type": "http.response.body", "body": b""})

    return app


async def said(app: Callable[..., Any], asked: bytes = ASKED) -> tuple[bytes, bytes]:
    """Header and what follows it, to the end of the connection."""
    async with listening(app) as port, connected(port) as (reader, writer):
        writer.write(asked)
        async with asyncio.timeout(PATIENCE_S):
            header, _, body = (await reader.read()).partition(b"\r\n\r\n")
    return header.lower(), body


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/0.9"])
async def test_an_answer_without_a_length_ends_with_its_connection(version: bytes) -> None:
    """And has no chunks."""
    header, body = await said(answering(200), ASKED.replace(b"HTTP/1.0", version))
    assert b"connection: close" in header
    assert b"transfer-encoding" not in header
    assert body == b"abcde"


async def test_a_length_is_told_as_to_anybody() -> None:
    """The connection ends all the same."""
    header, body = await said(answering(200, (b"content-length", b"5")))
    assert b"content-length: 5" in header
    assert body == b"abcde"


@pytest.mark.parametrize(("status", "method"), [(204, b"GET"), (304, b"GET"), (200, b"HEAD")])
async def test_what_has_no_body_has_none(status: int, method: bytes) -> None:
    """By status, or by method."""
    header, body = await said(answering(status), ASKED.replace(b"GET", method))
    assert header.startswith(b"http/1.1 %d " % status)
    assert body == b""


async def test_what_is_broken_off_is_not_taken_for_whole() -> None:
    """An end in due form would be that of the answer."""
    with pytest.raises(ConnectionResetError):
        await said(answering(200, whole=False))


async def test_nobody_is_told_to_go_on_who_takes_that_for_the_answer() -> None:
    """RFC 9110 §10.1.1: a caller of HTTP/1.0 knows no interim answers."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["body"] == b"hi"
        await answering(200)(scope, receive, send)

    header, body = await said(app, ASKED.replace(b"GET", b"POST").rstrip() + b"\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\nhi")
    assert header.startswith(b"http/1.1 200 ")
    assert body == b"abcde"


async def read(caller: socket.socket) -> bytes:
    """All that comes, to the end in due form."""
    got, loop = b"", asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE_S):
        while piece := await loop.sock_recv(caller, 65536):
            got += piece
    return got


async def test_who_was_cut_off_does_not_take_what_was_under_way_for_all() -> None:
    """He did not read for a while, and then does: the kernel would give him what it had, and an end as of all."""
    left: list[str] = []

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(100):
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
        left.append("done")

    async with serving(endless) as running, asking(running, ASKED) as caller:
        await until(lambda: left)
        assert not running.server_state.connections
        with pytest.raises(ConnectionResetError):
            await read(caller)


async def test_who_has_no_more_to_say_does_not_take_what_there_is_for_all() -> None:
    """The connection ends then, and the answer had not."""
    begun, let = asyncio.Event(), asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        begun.set()
        await let.wait()
        await send({"type": "http.response.body", "body": b"whole"})

    async with serving(slow, patience=PATIENCE_S) as running, asking(running, ASKED) as caller:
        await begun.wait()
        caller.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionResetError):
            await read(caller)
        let.set()


async def test_who_reads_late_gets_the_end_of_an_answer() -> None:
    """Which was written whole when its connection ended from here."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(LITTLE), "more_body": True})
        await send({"type": "http.response.body", "body": b"end"})

    async with serving(app, patience=PATIENCE_S) as running, asking(running, ASKED) as caller:
        await until(lambda: running.server_state.total_requests)
        got = await read(caller)
    assert (len(got.partition(b"\r\n\r\n")[2]), got[-3:]) == (LITTLE + 3, b"end")
