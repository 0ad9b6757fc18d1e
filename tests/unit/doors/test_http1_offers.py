"""Of other protocols that a request offers to speak only WebSocket is heeded; the others change nothing of what is read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.doors.http1 import GuardedHttp
from router.processes.server import server
from tests.unit.doors.test_http1 import PATIENCE_S, Asked, answering, connected, ends, listening

SMUGGLED = b"PUT /smuggled HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"
OFFERS = (b"h2c", b"foo/1", b"websocket, h2c", b"websocket")  # the last is one of a GET alone
Whole = tuple[str, bytes, bytes, tuple[tuple[bytes, bytes], ...], bytes]


class Wire(asyncio.Transport):
    """What is written to a caller."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """Whoever writes here goes on."""

    resume_reading = pause_reading


async def served(pieces: Iterable[bytes]) -> tuple[list[Whole], bytes]:
    """The requests that the application saw, whole, and what it said."""
    seen: list[Whole] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        seen.append((scope["method"], scope["raw_path"], scope["query_string"], tuple(scope["headers"]), body))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    running = server(app, http=GuardedHttp, grace_s=1, date=False)
    running.config.load()
    protocol, wire = GuardedHttp(running.config, running.server_state, {}), Wire()
    protocol.connection_made(cast(asyncio.Transport, wire))
    for piece in pieces:
        protocol.data_received(piece)
        await asyncio.sleep(0)
    while not all(task.done() for task in protocol.tasks) and protocol.tasks:
        before = wire.written
        for _ in range(5):
            await asyncio.sleep(0)
        if before == wire.written:  # somebody waits for more of a body
            break
    tasks = list(protocol.tasks)
    protocol.connection_lost(None)
    await asyncio.gather(*tasks)
    return seen, wire.written


def message(method: bytes, target: bytes, body: bytes | None, offer: bytes | None, *, chunks: int = 0, after: bool = False) -> bytes:
    """`offer`: what `Upgrade` names, None for a request without it; `chunks`: how long each is, 0 for a content length."""
    upgrade = b"" if offer is None else b"Upgrade: %b\r\n" % offer
    framing, framed = b"", b""
    if body is not None and chunks:
        parts = [body[at : at + chunks] for at in range(0, len(body), chunks)]
        framing, framed = b"Transfer-Encoding: chunked\r\n", b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    elif body is not None:
        framing, framed = b"Content-Length: %d\r\n" % len(body), body
    fields = framing + upgrade if after else upgrade + framing
    return b"%b %b HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade, x-one\r\nX-One: \r\n%b\r\n%b" % (method, target, fields, framed)


def cut(stream: bytes, places: Sequence[int]) -> list[bytes]:
    at = [0, *sorted({place % (len(stream) + 1) for place in places}), len(stream)]
    return [stream[first:last] for first, last in pairwise(at) if first < last]


bodies = st.one_of(st.none(), st.just(b""), st.just(SMUGGLED), st.binary(max_size=40), st.just(bytes(150_000)))
requests = st.tuples(
    st.sampled_from((b"POST", b"PUT", b"OPTIONS")),
    st.sampled_from((b"/a", b"/b?c=d", b"*")),
    bodies,
    st.sampled_from((None, *OFFERS)),
    st.sampled_from((0, 0, 3, 70_000)),
    st.booleans(),
)


@given(st.lists(requests, min_size=1, max_size=5), st.lists(st.integers(0, 1 << 20), max_size=12))
def test_an_offer_changes_nothing_of_what_is_read(asked: list[Any], places: list[int]) -> None:
    """Requests that follow each other on a connection, cut anywhere, are the same requests, bodies and answers as without their offers."""
    offering = b"".join(message(*one[:4], chunks=one[4], after=one[5]) for one in asked)
    plain = b"".join(message(*one[:3], None, chunks=one[4], after=one[5]) for one in asked)
    expected = asyncio.run(served([plain]))
    assert len(expected[0]) == len(asked)
    assert asyncio.run(served(cut(offering, places))) == expected


@pytest.mark.parametrize("chunks", [0, 5])
async def test_a_header_may_be_cut_anywhere(chunks: int) -> None:
    """Between any two bytes of two requests that offer something."""
    stream = message(b"PUT", b"/a", SMUGGLED, b"h2c", chunks=chunks) + message(b"POST", b"/b", b"more", b"foo", chunks=chunks)
    expected = await served([message(b"PUT", b"/a", SMUGGLED, None, chunks=chunks) + message(b"POST", b"/b", b"more", None, chunks=chunks)])
    assert [one[4] for one in expected[0]] == [SMUGGLED, b"more"]
    for place in range(1, len(stream)):
        assert await served([stream[:place], stream[place:]]) == expected


async def test_a_body_is_read_byte_by_byte() -> None:
    """As slowly as anybody may send it."""
    stream = message(b"PUT", b"/a", SMUGGLED, b"h2c") + message(b"PUT", b"/b", SMUGGLED, b"h2c", chunks=7)
    seen, _ = await served(bytes([byte]) for byte in stream)
    assert [(one[1], one[4]) for one in seen] == [(b"/a", SMUGGLED), (b"/b", SMUGGLED)]


@pytest.mark.parametrize("chunks", [0, 9])
async def test_a_body_that_comes_later_is_no_request(chunks: int) -> None:
    """Over a real connection: what follows a header with an offer is its body, and the connection goes on behind it."""
    asked: Asked = []
    head, body = message(b"PUT", b"/a", SMUGGLED, b"h2c", chunks=chunks).split(b"\r\n\r\n", 1)
    async with listening(answering(asked)) as port, connected(port) as (reader, writer):
        writer.write(head + b"\r\n\r\n")
        await asyncio.sleep(0.1)
        assert asked == []
        writer.write(body + b"GET /b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        assert (await ends(reader)).count(b"HTTP/1.1 200 ") == 2
    assert [each["path"] for each in asked] == ["/a", "/b"]


async def test_an_offer_is_never_shown() -> None:
    """It is for this hop, and nothing came of it."""
    (_, _, _, headers, _), *others = (await served([message(b"POST", b"/a", b"b", b"h2c")]))[0]
    assert [name for name, _ in headers] == [b"host", b"connection", b"x-one", b"content-length"]
    assert others == []


@pytest.mark.parametrize(
    "start", [b"POST / HTTP/1.1", b"GET / HTTP/1.0", b"GET / HTTP/2.0"], ids=["another method", "HTTP/1.0", "another version"]
)
async def test_a_websocket_is_begun_by_a_get_of_http_1_1_alone(start: bytes) -> None:
    """RFC 6455 §4.1; else the request is what it is without the offer."""
    key = b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    stream = start + b"\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 2\r\n" + key + b"\r\nhi"
    seen, said = await served([stream])
    assert [(one[0], one[4]) for one in seen] == [(start.split()[0].decode(), b"hi")]
    assert said.startswith(b"HTTP/1.1 200 ")


async def test_a_framing_that_nobody_knows_is_refused_with_an_offer_too() -> None:
    """The parser looks at no framing where something is offered."""
    head = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\ntransfer-encoding: gzip\r\n\r\n"
    seen, said = await served([head + SMUGGLED])
    assert (seen, said[:13], said.count(b"HTTP/1.1 ")) == ([], b"HTTP/1.1 400 ", 1)


@pytest.mark.parametrize("target", [b"b:443", b"/b", b"*"])
async def test_a_tunnel_is_refused_and_nothing_behind_it_read(target: bytes) -> None:
    """Whoever asks for one may have said more already, which is no request (RFC 9110 §9.3.6)."""
    asked: Asked = []
    async with listening(answering(asked)) as port, connected(port) as (reader, writer):
        writer.write(b"CONNECT %b HTTP/1.1\r\nhost: b:443\r\ncontent-length: %d\r\n\r\n" % (target, len(SMUGGLED)))
        async with asyncio.timeout(PATIENCE_S):
            said = await reader.readuntil(b"}")
        writer.write(SMUGGLED)
        assert said.startswith(b"HTTP/1.1 501 ")
        assert b"method_unsupported" in said
        assert await ends(reader) == b""
    assert asked == []
