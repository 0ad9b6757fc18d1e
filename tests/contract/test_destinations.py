"""Every kind of destination keeps the same promises: in memory, and over real sockets with each HTTP client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from adapters.http_destination import Config, build
from adapters.memory_destination import Answer, MemoryDestination, Visit
from router.errors import DestinationError
from router.ports import Destination, Outbound
from router.system import SystemClock, SystemRandom

Handler = Callable[[Outbound], Awaitable[Answer]]
Talk = Callable[["Line"], Awaitable[None]]
Make = Callable[..., Awaitable[Destination]]


class Line:
    """What a WebSocket script sees of its peer, in memory or on the wire."""

    def __init__(self, target: str, headers: dict[str, str], receive: object, send: object, close: object) -> None:
        self.target, self.headers, self.receive, self.send, self.close = target, headers, receive, send, close


async def read_body(reader: asyncio.StreamReader, headers: dict[bytes, bytes]) -> bytes:
    if headers.get(b"transfer-encoding") != b"chunked":
        return await reader.readexactly(int(headers.get(b"content-length", b"0")))
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):  # who leaves before it is an incomplete read
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body


async def write_answer(writer: asyncio.StreamWriter, answer: Answer, method: str) -> None:
    head = [b"HTTP/1.1 %d X" % answer.status, *(name + b": " + value for name, value in answer.headers)]
    if isinstance(answer.body, bytes):
        if not any(name == b"content-length" for name, _ in answer.headers) and answer.status != 204:
            head.append(b"content-length: %d" % len(answer.body))
        writer.write(b"\r\n".join(head) + b"\r\n\r\n" + (b"" if method == "HEAD" else answer.body))
        return
    writer.write(b"\r\n".join([*head, b"transfer-encoding: chunked"]) + b"\r\n\r\n")
    async for piece in answer.body:
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await writer.drain()
    writer.write(b"0\r\n\r\n")


@asynccontextmanager
async def http_server(handler: Handler) -> AsyncIterator[int]:
    """A plain HTTP/1.1 server; a client that leaves cancels its answer."""

    async def answer_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
                method, target, _ = lines[0].decode().split(" ")
                fields = [(line.partition(b": ")[0].lower(), line.partition(b": ")[2]) for line in lines[1:-2]]
                body = await read_body(reader, dict(fields))
                answering = asyncio.ensure_future(write_answer(writer, await handler(Outbound(method, target, fields, body)), method))
                leaving = asyncio.ensure_future(reader.read(1))
                await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
                left = not answering.done()
                for task in (answering, leaving):
                    if not task.done():
                        task.cancel()
                await asyncio.gather(answering, leaving, return_exceptions=True)
                if left:
                    break

    server = await asyncio.start_server(answer_all, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def websocket_server(talk: Talk, subprotocols: list[str]) -> AsyncIterator[int]:
    async def run(connection: ServerConnection) -> None:
        async def receive() -> str | bytes | None:
            try:
                return await connection.recv()
            except ConnectionClosed as closed:
                seen.append(closed.rcvd.code if closed.rcvd else 1006)
                return None

        assert connection.request is not None
        headers = {name.lower(): value for name, value in connection.request.headers.raw_items()}
        await talk(Line(connection.request.path, headers, receive, connection.send, connection.close))

    seen: list[int] = []
    async with serve(run, "127.0.0.1", 0, subprotocols=subprotocols or None) as server:  # type: ignore[arg-type]  # plain names
        yield next(iter(server.sockets)).getsockname()[1]


async def in_memory(visit: Visit, talk: Talk) -> None:
    headers = {name.decode(): value.decode() for name, value in visit.headers}
    await talk(Line(visit.target, headers, visit.socket.receive, visit.socket.send, visit.socket.close))


@pytest.fixture(params=["memory", "pyreqwest", "aiohttp"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    """Opens a destination whose upstream is a handler, or a WebSocket script."""
    async with AsyncExitStack() as stack:

        async def made(handler: Handler | None = None, talk: Talk | None = None, subprotocols: tuple[str, ...] = ()) -> Destination:
            destination: Destination
            if request.param == "memory":
                visit = None if talk is None else lambda visit: in_memory(visit, talk)
                destination = MemoryDestination(handler or unused, visit, subprotocols)
            else:
                server = websocket_server(talk, list(subprotocols)) if talk else http_server(handler or unused)
                port = await stack.enter_async_context(server)
                config = Config.model_validate({"upstreams": [{"url": f"http://127.0.0.1:{port}"}], "client": request.param})
                destination = build(config, name="under-test", clock=SystemClock(), random=SystemRandom())
            await destination.open()
            stack.push_async_callback(destination.close)
            return destination

        yield made


async def unused(outbound: Outbound) -> Answer:
    raise AssertionError(outbound)


async def bodies(destination: Destination, outbound: Outbound) -> bytes:
    reply = await destination.send(outbound)
    try:
        return b"".join([chunk async for chunk in reply.chunks()])
    finally:
        await reply.close()


async def pieces(*given: bytes) -> AsyncIterator[bytes]:
    for piece in given:
        yield piece


async def test_request_arrives_as_given(make: Make) -> None:
    """Method, target, header fields (duplicates in order) and body reach the upstream unchanged."""
    seen: list[Outbound] = []

    async def handler(outbound: Outbound) -> Answer:
        seen.append(outbound)
        return Answer()

    headers = [(b"host", b"api.example"), (b"x-tag", b"one"), (b"x-tag", b"two"), (b"x-name", "Zoë".encode()), (b"content-length", b"5")]
    await bodies(await make(handler), Outbound("PUT", "/a%2Fb/%C3%A9;v=1?q=x%20y&q=z", headers, b"12345"))
    assert (seen[0].method, seen[0].target, seen[0].body) == ("PUT", "/a%2Fb/%C3%A9;v=1?q=x%20y&q=z", b"12345")
    assert [field for field in seen[0].headers if field in headers] == headers


async def test_response_arrives_as_sent(make: Make) -> None:
    """Status, duplicate header fields in order and an encoded body come back undecoded."""

    async def handler(outbound: Outbound) -> Answer:
        return Answer(418, [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"content-encoding", b"gzip")], b"\x1f\x8bnot really")

    reply = await (await make(handler)).send(Outbound("GET", "/", []))
    assert reply.status == 418
    assert [value for name, value in reply.headers if name == b"set-cookie"] == [b"a=1", b"b=2"]
    assert (b"content-encoding", b"gzip") in reply.headers
    assert b"".join([chunk async for chunk in reply.chunks()]) == b"\x1f\x8bnot really"
    assert reply.attempts == 1
    assert reply.upstream
    await reply.close()


@pytest.mark.parametrize("status", [301, 404, 500])
async def test_no_status_is_an_error(make: Make, status: int) -> None:
    """Redirects are not followed and errors are replies."""

    async def handler(outbound: Outbound) -> Answer:
        return Answer(status, [(b"location", b"/elsewhere")], b"body")

    reply = await (await make(handler)).send(Outbound("GET", "/", []))
    assert reply.status == status
    await reply.close()


async def test_request_body_is_streamed(make: Make) -> None:
    """The pieces of an iterator become the body."""

    async def handler(outbound: Outbound) -> Answer:
        body = outbound.body
        return Answer(body=body if isinstance(body, bytes) else b"".join([piece async for piece in body]))

    assert await bodies(await make(handler), Outbound("POST", "/", [], pieces(b"abc", b"", b"def"))) == b"abcdef"


async def test_error_of_the_body_iterator_comes_through(make: Make) -> None:
    """A caller that vanishes mid-body is the caller's own exception, not an upstream failure."""

    class GoneError(Exception):
        pass

    async def vanishing() -> AsyncIterator[bytes]:
        yield b"abc"
        raise GoneError

    async def handler(outbound: Outbound) -> Answer:
        assert not isinstance(outbound.body, bytes)
        return Answer(body=b"".join([piece async for piece in outbound.body]))

    destination = await make(handler)
    with pytest.raises(GoneError):
        await destination.send(Outbound("POST", "/", [], vanishing()))


async def test_events_pass_while_the_response_is_open(make: Make) -> None:
    """A piece is handed on before the upstream sends the next one; the head even before the first."""
    first, second = asyncio.Event(), asyncio.Event()

    async def events() -> AsyncIterator[bytes]:
        await first.wait()
        yield b"data: 1\n\n"
        await second.wait()
        yield b"data: 2\n\n"

    async def handler(outbound: Outbound) -> Answer:
        return Answer(headers=[(b"content-type", b"text/event-stream")], body=events())

    destination = await make(handler)
    async with asyncio.timeout(30):
        reply = await destination.send(Outbound("GET", "/", []))
        chunks = reply.chunks()
        first.set()
        assert await anext(chunks) == b"data: 1\n\n"
        second.set()
        assert [chunk async for chunk in chunks] == [b"data: 2\n\n"]
    await reply.close()


async def test_closing_reaches_the_upstream(make: Make) -> None:
    """Closing a reply half-way ends the upstream's work; closing again is harmless."""
    ended = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            yield b"more"
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def handler(outbound: Outbound) -> Answer:
        return Answer(body=endless())

    reply = await (await make(handler)).send(Outbound("GET", "/", []))
    assert await anext(reply.chunks()) == b"more"
    await reply.close()
    await reply.close()
    await asyncio.wait_for(ended.wait(), 30)


async def test_closing_while_a_read_is_being_cancelled(make: Make) -> None:
    """The caller leaves while nothing arrives: the read is cancelled, the reply closed, and the upstream's work ends."""
    ended = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            yield b"more"
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def handler(outbound: Outbound) -> Answer:
        return Answer(body=endless())

    reply = await (await make(handler)).send(Outbound("GET", "/", []))
    chunks = reply.chunks()
    assert await anext(chunks) == b"more"
    waiting = asyncio.ensure_future(anext(chunks))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.wait_for(reply.close(), 30)
    await asyncio.wait_for(ended.wait(), 30)


async def test_head_and_no_content_have_no_body(make: Make) -> None:
    """A HEAD reply keeps its content-length and has no chunks; nor has a 204."""

    async def handler(outbound: Outbound) -> Answer:
        return Answer(204) if outbound.method == "GET" else Answer(headers=[(b"content-length", b"1234")])

    destination = await make(handler)
    head = await destination.send(Outbound("HEAD", "/", []))
    assert (b"content-length", b"1234") in head.headers
    assert [chunk async for chunk in head.chunks()] == []
    await head.close()
    assert await bodies(destination, Outbound("GET", "/", [])) == b""


async def test_many_at_once_do_not_mix(make: Make) -> None:
    """Concurrent requests get their own answers."""

    async def handler(outbound: Outbound) -> Answer:
        await asyncio.sleep(0)
        return Answer(body=pieces(outbound.target.encode(), b"!"))

    destination = await make(handler)
    answers = await asyncio.gather(*(bodies(destination, Outbound("GET", f"/{number}", [])) for number in range(30)))
    assert answers == [b"/%d!" % number for number in range(30)]


async def test_ping_and_closing_twice(make: Make) -> None:
    """An open destination answers ping; closing it twice is harmless."""
    destination = await make()
    await destination.ping()
    await destination.close()
    await destination.close()


async def test_a_closed_destination_sends_nothing(make: Make) -> None:
    """It says so with a code instead of opening connections again."""
    destination = await make()
    await destination.close()
    for refused in (destination.ping(), destination.send(Outbound("GET", "/", [])), destination.connect("/", [], [])):
        with pytest.raises(DestinationError) as caught:
            await refused
        assert (caught.value.code, caught.value.status, caught.value.sent) == ("destination_closed", 503, False)


async def test_websocket_carries_messages_both_ways(make: Make) -> None:
    """Text and binary messages, target, header fields and the chosen subprotocol pass."""
    seen: list[Line] = []

    async def talk(line: Line) -> None:
        seen.append(line)
        while (message := await line.receive()) is not None:
            await line.send(message)

    destination = await make(talk=talk, subprotocols=("v2",))
    socket = await destination.connect("/chat?room=1", [(b"host", b"chat.example"), (b"x-tag", b"one")], ["v1", "v2"])
    assert socket.subprotocol == "v2"
    await socket.send("text")
    await socket.send(b"\x00bytes")
    assert [await socket.receive(), await socket.receive()] == ["text", b"\x00bytes"]
    await socket.close()
    assert (seen[0].target, seen[0].headers["host"], seen[0].headers["x-tag"]) == ("/chat?room=1", "chat.example", "one")


async def test_websocket_close_codes_pass(make: Make) -> None:
    """The upstream's close code is known after `receive` gave None; sending then is a DestinationError."""

    async def talk(line: Line) -> None:
        await line.close(4001, "enough")

    socket = await (await make(talk=talk)).connect("/", [], [])
    assert await socket.receive() is None
    assert socket.close_code == 4001
    with pytest.raises(DestinationError) as caught:
        await socket.send("late")
    assert caught.value.code == "upstream_reset"
    await socket.close()
    await socket.close()


async def test_websocket_closed_by_us_ends_the_upstreams_script(make: Make) -> None:
    """The upstream sees the end when the caller closes."""
    ended = asyncio.Event()

    async def talk(line: Line) -> None:
        assert await line.receive() is None
        ended.set()

    socket = await (await make(talk=talk)).connect("/", [], [])
    await socket.close(1005, "no code was given")
    await asyncio.wait_for(ended.wait(), 30)
