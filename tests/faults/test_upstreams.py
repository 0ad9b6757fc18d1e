"""Upstreams that misbehave on purpose, over real sockets, with each HTTP client."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from adapters.http_destination import Config, HttpDestination, build
from router.errors import DestinationError
from router.ports import Outbound
from router.system import SystemClock, SystemRandom

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
UNAVAILABLE = b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\nretry-after: %d\r\n\r\nbusy"
GET = Outbound("GET", "/", [], idempotent=True)
POST = Outbound("POST", "/", [(b"content-length", b"3")], b"abc")


class Wire:
    """One connection as the upstream sees it; `number` counts connections from 0."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader, self.writer, self.number = reader, writer, number

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def say(self, text: bytes) -> None:
        self.writer.write(text)
        await self.writer.drain()

    async def left(self) -> None:
        """Until the gateway has closed its side."""
        while await self.reader.read(65536):
            pass


Script = Callable[[Wire], Awaitable[None]]


class Lab:
    def __init__(self, client: str, stack: AsyncExitStack) -> None:
        self.client = client
        self._stack = stack

    async def upstream(self, script: Script, **options: Any) -> int:
        """The port of a server that runs `script` once per connection and then closes it."""
        count = 0

        async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal count
            wire = Wire(reader, writer, count)
            count += 1
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await script(wire)
            writer.close()

        server = await asyncio.start_server(run, "127.0.0.1", 0, **options)
        self._stack.callback(server.close)
        return int(server.sockets[0].getsockname()[1])

    async def destination(self, *ports: int, scheme: str = "http", **settings: Any) -> HttpDestination:
        urls = [{"url": f"{scheme}://127.0.0.1:{port}"} for port in ports]
        quick = {"retries": {"backoff": "1ms"}, "timeouts": {"connect": "500ms", "idle": "5s", "total": "10s"}}
        config = Config.model_validate({"upstreams": urls, "client": self.client} | quick | settings)
        destination = build(config, name="under-test", clock=SystemClock(), random=SystemRandom())
        self._stack.push_async_callback(destination.close)
        await destination.open()
        return destination


@pytest.fixture(params=["pyreqwest", "aiohttp"])
async def lab(request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    async with AsyncExitStack() as stack:
        yield Lab(request.param, stack)


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def whole(destination: HttpDestination, outbound: Outbound) -> tuple[int, bytes, int]:
    """Status, body, attempts."""
    reply = await destination.send(outbound)
    try:
        return reply.status, b"".join([chunk async for chunk in reply.chunks()]), reply.attempts
    finally:
        await reply.close()


async def refusal(destination: HttpDestination, outbound: Outbound = GET) -> DestinationError:
    with pytest.raises(DestinationError) as caught:
        await whole(destination, outbound)
    return caught.value


def answering(text: bytes) -> Script:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.say(text)
        await asyncio.sleep(0.02)

    return script


def serving(text: bytes) -> Script:
    """The same answer to every request of a connection."""

    async def script(wire: Wire) -> None:
        while True:
            await wire.head()
            await wire.say(text)

    return script


# Connecting


@pytest.mark.parametrize(
    ("answer", "told"),
    [(b"", ("upstream_reset", 502)), (UNAVAILABLE % 0, ("upstream_unavailable", 503))],
    ids=["breaks off", "is busy"],
)
@pytest.mark.parametrize("then", ["nobody listens", "its circuit is open"])
async def test_who_was_reached_once_is_not_said_to_have_been_reached_never(
    lab: Lab, answer: bytes, told: tuple[str, int], then: str
) -> None:
    """The last attempt reached nobody, and the one before may have had its effect: whoever lets go of a key, or of a held request, has to
    hear of that."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)

    async def once() -> None:
        loop = asyncio.get_running_loop()
        connection, _ = await loop.sock_accept(listener)
        if then == "nobody listens":
            listener.close()
        heard = b""
        while not heard.endswith(b"\r\n\r\nabc"):  # all of it: a connection that is closed over unread bytes loses the answer, too
            heard += await loop.sock_recv(connection, 65536)
        await loop.sock_sendall(connection, answer)
        connection.close()

    circuit = {"circuit": {"failures": 1}} if then == "its circuit is open" else {}
    destination = await lab.destination(listener.getsockname()[1], **circuit)
    serving_once = asyncio.create_task(once())
    error = await refusal(destination, Outbound("PUT", "/", [(b"content-length", b"3")], b"abc", idempotent=True))
    await serving_once
    listener.close()
    assert (error.code, error.status, error.sent, error.attempts) == (*told, True, 1 if circuit else 2)


async def test_nothing_listens(lab: Lab) -> None:
    """A refused connection is tried again, was not sent, and names the upstream."""
    port = unused_port()
    error = await refusal(await lab.destination(port), POST)
    assert (error.code, error.status, error.sent, error.attempts) == ("connect_failed", 502, False, 2)
    assert error.upstream == f"http://127.0.0.1:{port}"


async def test_connection_is_never_accepted(lab: Lab) -> None:
    """A full backlog is a connect time-out."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        full = [socket.socket() for _ in range(4)]
        for one in full:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        timeouts = {"connect": "100ms", "idle": "5s"}
        error = await refusal(await lab.destination(listener.getsockname()[1], timeouts=timeouts, retries={"attempts": 1}))
        for one in full:
            one.close()
    assert (error.code, error.status, error.sent) == ("connect_timeout", 504, False)


async def test_body_iterator_survives_a_dead_upstream(lab: Lab) -> None:
    """A body that was not touched yet may go to the next upstream."""
    got = asyncio.get_running_loop().create_future()

    async def script(wire: Wire) -> None:
        await wire.head()
        got.set_result(await wire.reader.readuntil(b"0\r\n\r\n"))
        await wire.say(OK)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"abc"

    destination = await lab.destination(unused_port(), await lab.upstream(script))
    assert await whole(destination, Outbound("POST", "/", [], pieces())) == (200, b"ok", 2)
    assert b"abc" in await got


# Before the response


async def test_upstream_never_answers(lab: Lab) -> None:
    """Silence before the head is an idle time-out, and the connection is dropped."""
    gone = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.left()
        gone.set()

    error = await refusal(await lab.destination(await lab.upstream(script), timeouts={"idle": "100ms"}))
    assert (error.code, error.status, error.sent, error.attempts) == ("upstream_idle", 504, True, 1)
    await asyncio.wait_for(gone.wait(), 30)


async def test_total_bounds_the_wait_for_the_head(lab: Lab) -> None:
    """A total shorter than idle is what ends the request."""

    async def script(wire: Wire) -> None:
        await wire.left()

    error = await refusal(await lab.destination(await lab.upstream(script), timeouts={"idle": "5s", "total": "100ms"}))
    assert (error.code, error.status) == ("upstream_timeout", 504)


async def test_view_with_other_timeouts(lab: Lab) -> None:
    """A route's own time-outs hold for its view and leave the destination's alone."""

    async def script(wire: Wire) -> None:
        await wire.left()

    destination = await lab.destination(await lab.upstream(script), timeouts={"idle": "5s", "total": "200ms"})
    assert (await refusal(destination.with_timeouts(idle=0.05))).code == "upstream_idle"
    assert (await refusal(destination)).code == "upstream_timeout"


async def test_a_vanished_upstream_is_retried_when_idempotent(lab: Lab) -> None:
    """The connection closes without an answer: GET is repeated."""

    async def script(wire: Wire) -> None:
        await wire.head()
        if wire.number > 0:
            await wire.say(OK)

    assert await whole(await lab.destination(await lab.upstream(script)), GET) == (200, b"ok", 2)


async def test_a_vanished_upstream_is_not_retried_otherwise(lab: Lab) -> None:
    """POST may have had its effect: it is sent once, and the error says so."""
    heads = 0

    async def script(wire: Wire) -> None:
        nonlocal heads
        await wire.head()
        heads += 1
        wire.writer.transport.abort()

    error = await refusal(await lab.destination(await lab.upstream(script)), POST)
    assert (error.code, error.status, error.sent, error.attempts, heads) == ("upstream_reset", 502, True, 1, 1)


async def test_a_touched_body_iterator_is_never_retried(lab: Lab) -> None:
    """Even an idempotent request is sent once when its body cannot be read again."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.reader.readuntil(b"abc")

    async def pieces() -> AsyncIterator[bytes]:
        yield b"abc"

    error = await refusal(await lab.destination(await lab.upstream(script)), Outbound("PUT", "/", [], pieces(), idempotent=True))
    assert (error.code, error.attempts) == ("upstream_reset", 1)


@pytest.mark.parametrize(
    "text",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\ncontent-length: minus one\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 1_000_000 + b"\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
        b"HTTP/1.1 101 Up\r\nupgrade: other\r\nconnection: upgrade\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 5000 + b"content-length: 0\r\n\r\n",
        b"HTTP/1.1 999 Request denied\r\ncontent-length: 2\r\n\r\nno",
        b"HTTP/1.1 600 What\r\ncontent-length: 0\r\n\r\n",
    ],
    ids=["not http", "two lengths", "no number", "huge header", "no chunk size", "unasked upgrade", "many headers", "999", "600"],
)
async def test_responses_that_are_not_http(lab: Lab, text: bytes) -> None:
    """What cannot be understood is refused with a name, not retried and not passed on."""
    error = await refusal(await lab.destination(await lab.upstream(answering(text))))
    assert (error.code, error.status, error.sent, error.attempts) == ("upstream_protocol", 502, True, 1)


# In the response


@pytest.mark.parametrize(
    "text",
    [b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"],
    ids=["content-length", "chunked"],
)
async def test_upstream_closes_mid_body(lab: Lab, text: bytes) -> None:
    """What arrived is passed on, then the reset is raised; a short body never looks complete."""
    destination = await lab.destination(await lab.upstream(answering(text)))
    reply = await destination.send(GET)
    chunks = reply.chunks()
    assert await anext(chunks) == b"abc"
    with pytest.raises(DestinationError) as caught:
        await anext(chunks)
    assert (caught.value.code, caught.value.sent, caught.value.upstream) == ("upstream_reset", True, reply.upstream)
    await reply.close()


async def test_upstream_stalls_mid_body(lab: Lab) -> None:
    """Silence in the body is an idle time-out, and the connection is dropped."""
    gone = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.say(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
        await wire.left()
        gone.set()

    error = await refusal(await lab.destination(await lab.upstream(script), timeouts={"idle": "100ms"}))
    assert (error.code, error.status) == ("upstream_idle", 504)
    await asyncio.wait_for(gone.wait(), 30)


def trickling(kind: bytes, pieces: int) -> Script:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.say(b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n" % kind)
        for _ in range(pieces):
            await wire.say(b"1\r\n.\r\n")
            await asyncio.sleep(0.03)
        await wire.say(b"0\r\n\r\n")

    return script


async def test_a_slow_trickle_ends_at_the_total(lab: Lab) -> None:
    """Never idle for long, but not done in time either."""
    script = trickling(b"text/plain", 100)
    error = await refusal(await lab.destination(await lab.upstream(script), timeouts={"idle": "2s", "total": "150ms"}))
    assert (error.code, error.status) == ("upstream_timeout", 504)


async def test_an_event_stream_has_no_total(lab: Lab) -> None:
    """The same trickle as text/event-stream runs to its end."""
    script = trickling(b"text/event-stream; charset=utf-8", 8)
    destination = await lab.destination(await lab.upstream(script), timeouts={"idle": "2s", "total": "100ms"})
    assert (await whole(destination, GET))[1] == b"." * 8


@pytest.mark.parametrize(
    ("outbound", "text", "body"),
    [
        (GET, b"HTTP/1.1 204 None\r\ncontent-length: 3\r\n\r\n", b""),
        (Outbound("HEAD", "/", [], idempotent=True), b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n", b""),
        (GET, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n", b"abc"),
        (GET, b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", b"abc"),
        (GET, b"HTTP/1.0 200 OK\r\n\r\nuntil the end", b"until the end"),
    ],
    ids=["204 with length", "HEAD with length", "trailers", "early hints", "until close"],
)
async def test_odd_but_legal(lab: Lab, outbound: Outbound, text: bytes, body: bytes) -> None:
    """Strange framing is read as RFC 9112 says."""
    assert (await whole(await lab.destination(await lab.upstream(answering(text))), outbound))[1] == body


async def test_bytes_after_a_bodyless_response_poison_nobody(lab: Lab) -> None:
    """A 204's smuggled body is not taken for the next response."""
    evil = b"HTTP/1.1 204 None\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.say(evil if wire.number == 0 else OK)
        with suppress(asyncio.IncompleteReadError):
            await wire.head()
            await wire.say(OK)

    destination = await lab.destination(await lab.upstream(script))
    with suppress(DestinationError):  # refusing such an upstream is as good
        assert (await whole(destination, GET))[1] == b""
    await asyncio.sleep(0.05)
    assert (await whole(destination, GET))[1] == b"ok"


async def test_header_bytes_outside_ascii(lab: Lab) -> None:
    """aiohttp passes them exactly; pyreqwest cannot read them and says so instead of dropping them."""
    text = b'HTTP/1.1 200 OK\r\ncontent-disposition: attachment; filename="Zo\xeb"\r\ncontent-length: 0\r\n\r\n'
    destination = await lab.destination(await lab.upstream(answering(text)))
    if lab.client == "pyreqwest":
        error = await refusal(destination)
        assert error.code == "upstream_protocol"
        assert "aiohttp" in str(error)
    else:
        reply = await destination.send(GET)
        assert (b"content-disposition", b'attachment; filename="Zo\xeb"') in reply.headers
        await reply.close()


# What is sent


@pytest.mark.parametrize("target", ["/a/../b", "/a/%2e%2E/b", "/a/./b", "/a\\b", "/a#b", "//../b", "a", "/a\tb", "/a/.%2e"])
async def test_no_path_reaches_the_upstream_as_another(lab: Lab, target: str) -> None:
    """Policy judged this target: either exactly it is sent, or nothing."""
    seen: list[str] = []

    async def script(wire: Wire) -> None:
        seen.append((await wire.head()).split(b" ")[1].decode())
        await wire.say(OK)

    destination = await lab.destination(await lab.upstream(script), retries={"attempts": 1})
    refused: list[DestinationError] = []
    try:
        await whole(destination, Outbound("GET", target, []))
    except DestinationError as error:
        refused.append(error)
    if lab.client == "pyreqwest":
        assert len(refused) == 1
    assert seen == ([] if refused else [target])
    assert all((one.code, one.status, one.sent) == ("request_unsendable", 400, False) for one in refused)


@pytest.mark.parametrize("target", ["/it's", "/a?q=it's", "/.well-known/x", "/a..b/c.d", "//double", "/a?x=/../y", "/caf%C3%A9|^{}"])
async def test_harmless_paths_pass(lab: Lab, target: str) -> None:
    """Dots in names, dots in queries and characters a client may percent-encode are no reason to refuse."""
    destination = await lab.destination(await lab.upstream(serving(OK)))
    assert (await whole(destination, Outbound("GET", target, [])))[0] == 200


@pytest.mark.parametrize("field", [(b"x", b"\xff\xfe"), (b"x\xe9", b"1")], ids=["value", "name"])
async def test_header_bytes_no_client_can_send(lab: Lab, field: tuple[bytes, bytes]) -> None:
    """They are refused; nothing is sent without them."""
    error = await refusal(await lab.destination(await lab.upstream(serving(OK))), Outbound("GET", "/", [field]))
    assert (error.code, error.sent) == ("request_unsendable", False)


async def test_client_adds_nothing_of_its_own(lab: Lab) -> None:
    """No cookie comes back, no encoding is asked for, no product is named."""
    heads: list[bytes] = []

    async def script(wire: Wire) -> None:
        for _ in range(2):
            heads.append((await wire.head()).lower())
            await wire.say(b"HTTP/1.1 200 OK\r\nset-cookie: a=1\r\ncontent-length: 0\r\n\r\n")

    destination = await lab.destination(await lab.upstream(script))
    await whole(destination, GET)
    await whole(destination, GET)
    assert len(heads) == 2
    for head in heads:
        assert not any(
            word in head for word in (b"cookie", b"accept-encoding", b"python", b"reqwest", b"aiohttp", b"referer", b"content-type")
        )


async def test_environment_names_no_proxy(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY is for other programs."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_port()}")
    assert (await whole(await lab.destination(await lab.upstream(serving(OK))), GET))[0] == 200


# Retries by status


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_retriable_status_is_tried_again(lab: Lab, status: int) -> None:
    """The failed response is thrown away, the next one is the answer."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.say(b"HTTP/1.1 %d X\r\ncontent-length: 4\r\n\r\nfail" % status if wire.number == 0 else OK)

    assert await whole(await lab.destination(await lab.upstream(script)), GET) == (200, b"ok", 2)


async def test_retry_after_beyond_the_deadline_is_passed_on(lab: Lab) -> None:
    """Waiting would outlast the total: the caller gets the 503 and its Retry-After."""
    destination = await lab.destination(await lab.upstream(serving(UNAVAILABLE % 60)))
    reply = await destination.send(GET)
    assert (reply.status, reply.attempts) == (503, 1)
    assert (b"retry-after", b"60") in reply.headers
    await reply.close()


@pytest.mark.parametrize(("total", "answer"), [("900ms", (503, b"busy", 1)), ("10s", (200, b"ok", 2))])
async def test_retry_after_is_waited_for(lab: Lab, total: str, answer: tuple[int, bytes, int]) -> None:
    """One second was asked for: too long for the shorter total, fine for the longer one."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.say(UNAVAILABLE % 1 if wire.number == 0 else OK)

    destination = await lab.destination(await lab.upstream(script), timeouts={"total": total})
    assert await whole(destination, GET) == answer


async def test_status_of_a_request_with_effects_is_final(lab: Lab) -> None:
    """POST without an idempotency key is not repeated after a 503."""
    assert await whole(await lab.destination(await lab.upstream(serving(UNAVAILABLE % 0))), POST) == (503, b"busy", 1)


async def test_retry_budget_ends_a_retry_storm(lab: Lab) -> None:
    """When everything fails, retries are a fraction of the requests."""
    heads = 0

    async def script(wire: Wire) -> None:
        nonlocal heads
        while await wire.head():
            heads += 1
            await wire.say(UNAVAILABLE % 0)

    retries = {"attempts": 3, "budget": "10%", "floor": 2, "backoff": "1ms"}
    destination = await lab.destination(await lab.upstream(script), retries=retries, circuit={"failures": 1000})
    for _ in range(20):
        await whole(destination, GET)
    assert heads == 24


# Circuit, health, concurrency


async def test_circuit_opens_and_one_probe_closes_it(lab: Lab) -> None:
    """After failures in a row nothing is sent; after `open` a probe goes through."""
    heads = 0

    async def script(wire: Wire) -> None:
        nonlocal heads
        await wire.head()
        heads += 1
        if heads > 2:
            await wire.say(OK)

    circuit = {"failures": 2, "open": "300ms"}
    destination = await lab.destination(await lab.upstream(script), circuit=circuit, retries={"attempts": 1})
    assert [(await refusal(destination)).code for _ in range(3)] == ["upstream_reset", "upstream_reset", "circuit_open"]
    assert heads == 2
    with pytest.raises(DestinationError):
        await destination.ping()
    await asyncio.sleep(0.31)
    assert (await whole(destination, GET))[0] == 200
    await destination.ping()


async def test_a_dead_upstream_is_left_alone(lab: Lab) -> None:
    """The circuit of one upstream opens, the others serve everything in one attempt."""
    destination = await lab.destination(unused_port(), await lab.upstream(serving(OK)), circuit={"failures": 2})
    attempts = [(await whole(destination, GET))[2] for _ in range(10)]
    assert attempts.count(2) == 2
    assert attempts[-4:] == [1, 1, 1, 1]


async def test_active_checks_take_an_upstream_out_and_back(lab: Lab) -> None:
    """Unhealthy answers end its traffic, a healthy one brings it back."""
    well = False

    async def script(wire: Wire) -> None:
        while True:
            check = b"GET /ready" in await wire.head()
            await wire.say(OK if well or not check else b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n")

    health = {"path": "/ready", "interval": "10ms", "unhealthy": 2, "healthy": 1}
    destination = await lab.destination(await lab.upstream(script), health=health)

    async def until(usable: bool) -> None:
        while True:
            with suppress(DestinationError):
                await destination.ping()
                if usable:
                    return
                await asyncio.sleep(0.01)
                continue
            if not usable:
                return
            await asyncio.sleep(0.01)

    await asyncio.wait_for(until(False), 30)
    assert (await refusal(destination)).code == "no_healthy_upstream"
    well = True
    await asyncio.wait_for(until(True), 30)
    assert (await whole(destination, GET))[0] == 200


async def test_concurrency_is_capped_and_given_back(lab: Lab) -> None:
    """One too many is refused at once; closing a reply, or its end, makes room."""

    async def script(wire: Wire) -> None:
        while True:
            await wire.head()
            await wire.say(OK)

    destination = await lab.destination(await lab.upstream(script), concurrency=1)
    held = await destination.send(GET)
    error = await refusal(destination)
    assert (error.code, error.status, error.sent) == ("concurrency_exceeded", 503, False)
    await held.close()
    for _ in range(3):
        assert (await whole(destination, GET))[0] == 200


async def test_a_cancelled_request_gives_its_place_back(lab: Lab) -> None:
    """The caller leaves before the head: the connection is dropped (by pyreqwest when `idle` is over) and another may come."""
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        if wire.number > 0:
            await wire.say(OK)
            return
        arrived.set()
        await wire.left()
        gone.set()

    destination = await lab.destination(await lab.upstream(script), concurrency=1, timeouts={"idle": "300ms"})
    task = asyncio.create_task(destination.send(GET))
    await asyncio.wait_for(arrived.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await whole(destination, GET))[0] == 200
    await asyncio.wait_for(gone.wait(), 30)


async def test_an_upload_nobody_waits_for_is_stopped(lab: Lab) -> None:
    """The caller leaves mid-upload: the upstream sees the connection close, not a complete body."""
    received = asyncio.get_running_loop().create_future()

    async def script(wire: Wire) -> None:
        got = b""
        with suppress(ConnectionError):
            while piece := await wire.reader.read(65536):
                got += piece
        received.set_result(got)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 10
            await asyncio.sleep(0.01)

    destination = await lab.destination(await lab.upstream(script))
    task = asyncio.create_task(destination.send(Outbound("POST", "/", [], endless())))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not (await asyncio.wait_for(received, 30)).endswith(b"0\r\n\r\n")


async def test_a_slow_upload_is_not_idle(lab: Lab) -> None:
    """Each piece sent is a sign of life; and waiting for the caller is not the upstream's silence."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.reader.readuntil(b"0\r\n\r\n")
        await wire.say(OK)

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(6):
            await asyncio.sleep(0.1)
            yield b"x"

    destination = await lab.destination(await lab.upstream(script), timeouts={"idle": "500ms", "total": "5s"})
    assert (await whole(destination, Outbound("POST", "/", [], slow())))[0] == 200


async def test_an_early_answer_ends_the_upload(lab: Lab) -> None:
    """The upstream refuses before it has read the body: its answer is passed on, and the rest of the body is not asked for."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.say(b"HTTP/1.1 413 Large\r\ncontent-length: 2\r\n\r\nno")
        await wire.left()

    asked = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield b"x" * 10
            await asyncio.sleep(0.01)

    destination = await lab.destination(await lab.upstream(script))
    assert (await whole(destination, Outbound("POST", "/", [], endless())))[:2] == (413, b"no")
    await asyncio.sleep(0.05)
    before = asked
    await asyncio.sleep(0.1)
    assert asked == before


async def test_a_caller_that_vanishes_after_an_early_answer(lab: Lab) -> None:
    """The body iterator's late exception disturbs nobody."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.say(OK)
        await wire.left()

    left = asyncio.Event()

    async def leaving() -> AsyncIterator[bytes]:
        yield b"x"
        await left.wait()
        raise ConnectionAbortedError

    destination = await lab.destination(await lab.upstream(script))
    assert (await whole(destination, Outbound("POST", "/", [], leaving())))[0] == 200
    left.set()
    await asyncio.sleep(0.05)


# WebSockets (one client library, so no parameter)


@pytest.fixture
async def plain() -> AsyncIterator[Lab]:
    async with AsyncExitStack() as stack:
        yield Lab("pyreqwest", stack)


@pytest.mark.parametrize(
    ("text", "code", "status"),
    [
        (b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n", "websocket_refused", 403),
        (b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", "websocket_refused", 502),
        (b"HTTP/1.1 302 Go\r\nlocation: ws://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", "websocket_refused", 502),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "websocket_refused", 502),
        (b"HTTP/1.1 101 Up\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: x\r\n\r\n", "upstream_protocol", 502),
        (b"nonsense\r\n\r\n", "upstream_protocol", 502),
    ],
    ids=["403", "500", "redirect", "200", "wrong accept", "not http"],
)
async def test_websocket_handshakes_that_fail(plain: Lab, text: bytes, code: str, status: int) -> None:
    """A refusal of the caller keeps its status; everything else is a bad gateway, redirects included."""
    destination = await plain.destination(await plain.upstream(answering(text)), concurrency=1)
    for _ in range(2):
        with pytest.raises(DestinationError) as caught:
            await destination.connect("/", [], [])
        assert (caught.value.code, caught.value.status) == (code, status)


async def test_websocket_to_nobody(plain: Lab) -> None:
    """Nothing listens."""
    with pytest.raises(DestinationError) as caught:
        await (await plain.destination(unused_port())).connect("/", [], [])
    assert (caught.value.code, caught.value.status) == ("connect_failed", 502)


async def test_websocket_handshake_that_never_ends(plain: Lab) -> None:
    """Connect and idle together bound it."""

    async def script(wire: Wire) -> None:
        await wire.left()

    destination = await plain.destination(await plain.upstream(script), timeouts={"connect": "50ms", "idle": "50ms"})
    with pytest.raises(DestinationError) as caught:
        await destination.connect("/", [], [])
    assert (caught.value.code, caught.value.status) == ("connect_timeout", 504)


@pytest.mark.parametrize(("message", "code"), [(None, 1014), ("x" * 2000, 1009)], ids=["vanishes", "too large"])
async def test_websocket_that_breaks(plain: Lab, message: str | None, code: int) -> None:
    """A vanished upstream is 1014 (bad gateway); a message over the limit ends the socket with 1009."""

    async def run(connection: ServerConnection) -> None:
        if message is None:
            connection.transport.abort()
        else:
            await connection.send(message)
            await connection.wait_closed()

    async with serve(run, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        socket_ = await (await plain.destination(port, websocket={"max_message": "1KiB"})).connect("/", [], [])
        assert await socket_.receive() is None
        assert socket_.close_code == code
        await socket_.close()


NOBODYS = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nnobody"


@pytest.mark.parametrize(
    ("answer", "status"),
    [(OK, 200), (b"HTTP/1.1 204 No\r\ncontent-length: %d\r\n\r\n" % len(NOBODYS), 204), (b"HTTP/1.1 304 No\r\n\r\n", 304)],
    ids=["one more answer", "the body of a 204", "the body of a 304"],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_nobody_asked_for_is_nobodys_answer(lab: Lab, answer: bytes, status: int, method: str) -> None:
    """It came behind a whole answer, when its connection was idle: the next request gets another connection."""
    said = asyncio.Event()

    async def script(wire: Wire) -> None:
        if wire.number == 0:
            await wire.head()
            await wire.say(answer.partition(b"ok")[0] if method == "HEAD" else answer)
            await asyncio.sleep(0.05)
            await wire.say(NOBODYS)
            said.set()
        while True:
            await wire.head()
            await wire.say(OK)

    destination = await lab.destination(await lab.upstream(script))
    assert (await whole(destination, Outbound(method, "/", [], idempotent=True)))[0] == status
    async with asyncio.timeout(30):
        await said.wait()
    await asyncio.sleep(0.05)
    assert (await whole(destination, GET))[:2] == (200, b"ok")


async def test_what_the_loop_has_not_read_yet_is_nobodys_answer_either(lab: Lab) -> None:
    """Where much is ready at once, a connection is given back and taken again before anybody looks at it."""

    def run(listening: socket.socket) -> None:
        """Beside the loop."""
        answers = [(b"HTTP/1.1 204 No\r\n\r\n", NOBODYS), (OK, b"")]
        while answers:
            connection, _ = listening.accept()
            with connection, suppress(ConnectionError):
                connection.settimeout(30)
                while answers and connection.recv(65536):
                    first, behind = answers.pop(0)
                    connection.sendall(first)
                    if behind:
                        said.wait(30)
                        connection.sendall(behind)
                        come.set()

    said, come = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)
        beside = threading.Thread(target=run, args=(listening,))
        beside.start()
        destination = await lab.destination(listening.getsockname()[1])
        reply = await destination.send(GET)
        said.set()
        come.wait(30)  # the loop stands still, as behind other work
        await reply.close()
        assert (await whole(destination, GET))[:2] == (200, b"ok")
        await destination.close()
    beside.join()


@pytest.mark.parametrize("lab", ["aiohttp"], indirect=True)
async def test_a_204_that_tells_of_a_body_is_the_last_of_its_connection(lab: Lab) -> None:
    """What tells of one may send it when the next was asked already (RFC 9110 §8.6 has it send neither)."""
    connections: set[int] = set()

    async def script(wire: Wire) -> None:
        while True:
            await wire.head()
            connections.add(wire.number)
            await wire.say(b"HTTP/1.1 204 No\r\ncontent-length: 6\r\n\r\n")

    destination = await lab.destination(await lab.upstream(script))
    for _ in range(2):
        assert (await whole(destination, GET))[:2] == (204, b"")
    assert connections == {0, 1}


async def test_what_was_under_way_when_its_destination_closed_may_have_arrived(lab: Lab) -> None:
    """So it is not said never to have been sent: whoever lets go of a key by that would have it done twice."""
    asked = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        asked.set()
        await wire.left()

    destination = await lab.destination(await lab.upstream(script), retries={"attempts": 1})
    sending = asyncio.create_task(refusal(destination))
    await asked.wait()
    await destination.close()
    error = await sending
    assert (error.code, error.sent) == ("upstream_reset", True)


FAULTY = b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno"


async def test_an_upstream_that_answers_with_errors_is_left_alone(lab: Lab) -> None:
    """Which its circuit does not see, since a 500 is an answer."""
    bad, good = await lab.upstream(serving(FAULTY)), await lab.upstream(serving(OK))
    destination = await lab.destination(bad, good, outliers={"consecutive": 3, "ejection": "5m", "interval": "5m"})
    statuses = [(await whole(destination, GET))[0] for _ in range(20)]
    assert statuses.count(500) == 3
    assert statuses[-10:] == [200] * 10


async def test_an_upstream_that_was_left_alone_is_asked_again(lab: Lab) -> None:
    """When its time is over, without anybody's doing."""
    bad, good = await lab.upstream(serving(FAULTY)), await lab.upstream(serving(OK))
    destination = await lab.destination(bad, good, outliers={"consecutive": 1, "ejection": "50ms", "longest": "50ms"})
    failed = 0
    async with asyncio.timeout(30):
        while failed < 3:
            failed += (await whole(destination, GET))[0] == 500
            await asyncio.sleep(0.01)


async def test_the_only_upstream_is_asked_whatever_it_answers(lab: Lab) -> None:
    """Nobody would be left."""
    destination = await lab.destination(
        await lab.upstream(serving(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n")), outliers={"consecutive": 1}
    )
    assert [(await whole(destination, GET))[0] for _ in range(5)] == [500] * 5


async def test_the_least_busy_upstream_is_asked(lab: Lab) -> None:
    """While one holds its requests, the other gets all the new ones; what has ended counts no more."""
    held, began = asyncio.Event(), asyncio.Event()
    asked: list[str] = []

    def named(name: str) -> Script:
        async def script(wire: Wire) -> None:
            while True:
                head = await wire.head()
                asked.append(name)
                if b"/slow" in head:
                    began.set()
                    await held.wait()
                await wire.say(OK)

        return script

    destination = await lab.destination(await lab.upstream(named("a")), await lab.upstream(named("b")), balance="least_requests")
    slow = asyncio.create_task(whole(destination, Outbound("GET", "/slow", [], idempotent=True)))
    await began.wait()
    for _ in range(6):
        await whole(destination, GET)
    assert len(set(asked[1:])) == 1
    assert asked[1] != asked[0]
    held.set()
    await slow
    asked.clear()
    for _ in range(6):
        await whole(destination, GET)
    assert set(asked) == {"a", "b"}


async def test_a_subject_has_one_upstream(lab: Lab) -> None:
    """By the field that the gateway sets; when that upstream is gone another one answers, and the others' subjects stay."""
    asked: list[str] = []

    def named(name: str) -> Script:
        async def script(wire: Wire) -> None:
            while True:
                await wire.head()
                asked.append(name)
                await wire.say(OK)

        return script

    ports = [await lab.upstream(named(name)) for name in ("a", "b", "c")]
    destination = await lab.destination(*ports, balance="hash", hash_by="subject")

    async def upstream_of(who: str) -> str:
        asked.clear()
        for _ in range(3):
            await whole(destination, Outbound("GET", "/", [(b"x-lockgate-subject", who.encode())], idempotent=True))
        assert len(set(asked)) == 1
        return asked[0]

    found = {who: await upstream_of(who) for who in map(str, range(20))}
    assert set(found.values()) == {"a", "b", "c"}


async def test_a_body_that_is_shorter_than_it_says_was_sent_all_the_same(lab: Lab) -> None:
    """As far as it went: its upstream may have acted on the head, so its code is none that says that nobody was reached."""
    reached = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        reached.set()

    async def body() -> AsyncIterator[bytes]:
        yield b"four"
        await reached.wait()

    destination = await lab.destination(await lab.upstream(script), retries={"attempts": 1})
    error = await refusal(destination, Outbound("POST", "/", [(b"content-length", b"9")], body()))
    assert error.sent
    assert error.code == "upstream_reset"


@pytest.mark.parametrize("length", [b"0", b"5", b"9"])
async def test_a_response_with_two_framings_is_none(lab: Lab, length: bytes) -> None:
    """By one it ends elsewhere than by the other (RFC 9112 §6.3): its body would be cut, or reach beyond what its caller was told."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.say(b"HTTP/1.1 200 OK\r\ncontent-length: %b\r\ntransfer-encoding: chunked\r\n\r\n7\r\nseven!!\r\n0\r\n\r\n" % length)

    error = await refusal(await lab.destination(await lab.upstream(script), retries={"attempts": 1}), Outbound("GET", "/", []))
    assert (error.code, error.sent) == ("upstream_protocol", True)
