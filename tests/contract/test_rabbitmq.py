"""RabbitMQ as a destination, over a real broker."""

from __future__ import annotations

import asyncio
import struct
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from tests.needs import needs

needs("aiormq", "pip install 'lockgate[rabbitmq]'")

from aiormq.abc import DeliveredMessage

from adapters.messaging.destination import MessageDestination
from adapters.rabbitmq_destination import Config, build
from router.errors import DestinationError
from router.system import SystemClock, SystemRandom
from tests.contract.message_promises import Case, Promises, asked, id_of
from tests.contract.rabbit_by_hand import channel, make_queue, read_all
from tests.rabbitmq_server import PASSWORD, READER, USER, RabbitServer, running
from tests.rabbitmq_server import made as not_started


@pytest.fixture(scope="module")
def server() -> Iterator[RabbitServer]:
    with running() as made:
        yield made


@pytest.fixture
async def queue(server: RabbitServer) -> str:
    name = f"q-{uuid.uuid4()}"
    await make_queue(server, name)
    return name


def destination(server: RabbitServer, **settings: Any) -> MessageDestination:
    given = {"servers": [f"127.0.0.1:{server.port}"], "username": USER, "password": PASSWORD, "routing_key": "none", **settings}
    return build(Config.model_validate(given), name="orders", clock=SystemClock(), random=SystemRandom())


async def opened(server: RabbitServer, **settings: Any) -> MessageDestination:
    made = destination(server, **settings)
    await made.open()
    return made


async def refused(made: MessageDestination, body: bytes = b"{}", **more: Any) -> DestinationError:
    with pytest.raises(DestinationError) as raised:
        await made.send(asked(body, **more))
    return raised.value


class TestRabbitMQ(Promises):
    @pytest.fixture
    async def case(self, server: RabbitServer, queue: str) -> AsyncIterator[Case]:
        made = await opened(server, routing_key=queue)
        seen = list[DeliveredMessage]()

        async def arrived(message_id: str) -> Sequence[bytes]:
            if not any(each.header.properties.message_id == id_of(message_id) for each in seen):
                seen.extend(await read_all(server, queue))
            return [each.body for each in seen if each.header.properties.message_id == id_of(message_id)]

        yield Case(made, arrived, once=False)
        await made.close()


async def test_it_is_persistent_and_carries_the_decision_the_trace_and_its_own_headers(server: RabbitServer, queue: str) -> None:
    made = await opened(server, routing_key=queue, headers={"x-tenant": "{{ subject.tenant }}"})
    await made.send(asked(b'{"a":1}', [(b"x-lockgate-tenant", b"halden"), (b"ce-type", b"order.made")], key="k-1"))
    await made.close()
    (got,) = await read_all(server, queue)
    properties = got.header.properties
    assert (properties.delivery_mode, properties.content_type) == (2, "application/json")
    assert str(properties.message_id).startswith("key-")
    headers = properties.headers or {}
    assert headers["x-lockgate-decision-id"] == properties.correlation_id
    assert headers["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c")
    assert (headers["x-tenant"], headers["ce-type"], headers["x-lockgate-intent"]) == ("halden", "order.made", "cancel_payment")


async def test_exchange_and_routing_key_are_made_of_the_request(server: RabbitServer, queue: str) -> None:
    async with channel(server) as by_hand:
        await by_hand.exchange_declare(f"x-{queue}", exchange_type="topic", durable=True)
        await by_hand.queue_bind(queue, f"x-{queue}", "payments.high.*")
    made = await opened(server, exchange="x-{{ body.to }}", routing_key="payments.{{ decision.risk }}.{{ body.id }}")
    await made.send(asked(b'{"to":"%s","id":7}' % queue.encode()))
    assert (await refused(made, b'{"to":"%s","id":"%s"}' % (queue.encode(), b"x" * 300))).code == "input_unmapped"
    await made.close()
    (got,) = await read_all(server, queue)
    assert got.routing_key == "payments.high.7"


async def test_what_no_queue_gets_is_refused_and_what_others_send_meanwhile_arrives(server: RabbitServer, queue: str) -> None:
    made = await opened(server, routing_key="{{ body.to }}")
    wanted = ((queue, "a"), ("nowhere", "b"), (queue, "c"), ("nowhere", "b"))
    sendings = [asked(b'{"to":"%s"}' % to.encode(), key=key) for to, key in wanted]
    results = await asyncio.gather(*(made.send(each) for each in sendings), return_exceptions=True)
    assert [getattr(each, "code", "sent") for each in results] == ["sent", "upstream_refused", "sent", "upstream_refused"]
    assert not any(getattr(each, "sent", False) for each in results)
    await made.close()
    assert len(await read_all(server, queue)) == 2


async def test_an_exchange_that_is_missing_breaks_nothing_for_the_others(server: RabbitServer, queue: str) -> None:
    async with channel(server) as by_hand:
        await by_hand.exchange_declare(f"x-{queue}", exchange_type="fanout", durable=True)
        await by_hand.queue_bind(queue, f"x-{queue}")
    made = await opened(server, exchange="x-{{ body.to }}", routing_key="all")
    for _ in range(3):
        sendings = [asked(b'{"to":"%s"}' % to) for to in (queue.encode(), b"missing", queue.encode())]
        results = await asyncio.gather(*(made.send(each) for each in sendings), return_exceptions=True)
        assert [getattr(each, "code", "sent") for each in results] == ["sent", "upstream_refused", "sent"]
    async with channel(server) as by_hand:
        await by_hand.exchange_delete(f"x-{queue}")
    assert (await refused(made, b'{"to":"%s"}' % queue.encode())).code == "upstream_refused"
    await made.close()
    assert len(await read_all(server, queue)) == 6


async def test_a_full_queue_is_no_acknowledgement(server: RabbitServer) -> None:
    name = f"q-{uuid.uuid4()}"
    await make_queue(server, name, x_max_length=1, x_overflow="reject-publish")
    made = await opened(server, routing_key=name)
    assert (await made.send(asked(b"{}"))).status == 202
    error = await refused(made)
    assert (error.code, error.sent) == ("upstream_unavailable", True)
    await made.close()


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"password": "wrong"}, "upstream_denied"),
        ({"vhost": "closed"}, "upstream_denied"),
        ({"vhost": "missing"}, "upstream_denied"),
        ({"username": READER, "exchange": "amq.topic"}, "upstream_denied"),
        ({"servers": ["127.0.0.1:1"]}, "connect_failed"),
        ({"tls": {}}, "tls_failed"),
    ],
)
async def test_what_the_broker_refuses_has_a_name_and_nothing_was_sent(server: RabbitServer, settings: dict[str, Any], code: str) -> None:
    made = await opened(server, **settings)
    error = await refused(made)
    assert (error.code, error.sent) == (code, False)
    await made.close()


async def test_a_message_too_large_for_the_broker_is_refused_by_name(server: RabbitServer, queue: str) -> None:
    with running(max_message_size="1000") as small:
        await make_queue(small, "q")
        made = await opened(small, routing_key="q")
        assert (await made.send(asked(b"x" * 900))).status == 202
        error = await refused(made, b"x" * 2000)
        assert (error.code, error.status, error.sent) == ("body_too_large", 413, False)
        assert (await made.send(asked(b"x" * 900))).status == 202
        await made.close()


async def test_another_node_is_used_when_the_first_is_away(server: RabbitServer, queue: str) -> None:
    made = await opened(server, servers=["127.0.0.1:1", f"127.0.0.1:{server.port}"], routing_key=queue)
    assert (await made.send(asked(b"{}"))).status == 202
    await made.close()


async def test_a_broker_that_is_killed_and_comes_back_has_what_it_confirmed() -> None:
    with running() as server:
        await make_queue(server, "kept", "quorum")
        made = await opened(server, routing_key="kept", retries={"attempts": 1}, circuit={"failures": 1_000_000})
        confirmed, codes = list[str](), set[str]()
        stop = asyncio.Event()

        async def sends(number: int) -> None:
            turn = 0
            while not stop.is_set():
                key = f"{number}-{(turn := turn + 1)}"
                try:
                    await made.send(asked(b"{}", key=key))
                    confirmed.append(key)
                except DestinationError as error:
                    codes.add(error.code)
                    await asyncio.sleep(0.05)

        sending = [asyncio.create_task(sends(number)) for number in range(5)]
        await asyncio.sleep(1.0)
        await asyncio.to_thread(server.kill)
        before = len(confirmed)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(server.start)
        until = asyncio.get_running_loop().time() + 180  # a busy machine takes its time to recover a queue
        while len(confirmed) < before + 20:
            assert asyncio.get_running_loop().time() < until, f"not confirmed again; refused with {codes}"
            assert not any(each.done() for each in sending), "a sender gave up"
            await asyncio.sleep(0.05)
        stop.set()
        await asyncio.gather(*sending)
        await made.close()
        there = {each.header.properties.message_id for each in await read_all(server, "kept")}
        assert before > 0
        assert "upstream_reset" in codes
        assert codes <= {
            "upstream_reset",
            "upstream_timeout",
            "connect_failed",
            "connect_timeout",
            "upstream_unavailable",
            "upstream_denied",
        }
        assert {id_of(key) for key in confirmed} <= there


async def test_a_channel_that_confirms_nothing_any_more_is_left(server: RabbitServer, queue: str) -> None:
    """Otherwise all that follows would wait on it, too, for as long as the connection lasts. What others wait for there may still come."""
    async with silenced(server) as (port, silence):
        made = await opened(server, servers=[f"127.0.0.1:{port}"], routing_key=queue, timeout="2s", retries={"attempts": 1})
        assert (await made.send(asked(b"{}", key="before"))).status == 202
        silence.channel = 1
        error = await refused(made)
        assert (error.code, error.sent) == ("upstream_timeout", True)
        assert [(await made.send(asked(b"{}", key=f"after-{number}"))).status for number in range(3)] == [202] * 3
        assert silence.swallowed == 1
        await made.close()
    assert len(await read_all(server, queue)) == 5


async def test_who_goes_takes_no_other_s_confirmation_along(server: RabbitServer, queue: str) -> None:
    """The channel is left, and kept until the last of those who are on it, also of those who are only about to publish there."""
    async with silenced(server) as (port, silence):
        made = await opened(server, servers=[f"127.0.0.1:{port}"], routing_key=queue, retries={"attempts": 1})
        assert (await made.send(asked(b"{}", key="before"))).status == 202
        silence.slow_s = 0.005
        for burst, turns in enumerate(range(10, 40, 10)):  # of the loop, until one goes: few have published by then, or most
            sending = [asyncio.create_task(made.send(asked(b"x" * 100_000, key=f"{burst}-{number}"))) for number in range(60)]
            for _ in range(turns):
                await asyncio.sleep(0)
            sending[0].cancel()
            found = await asyncio.gather(*sending, return_exceptions=True)
            assert sorted(getattr(each, "status", 0) for each in found) == [0, *[202] * 59], found
        await made.close()


class Silence:
    """Of which channel confirmations are swallowed, and how many were; and how long each part of what is said takes."""

    channel = 0
    swallowed = 0
    slow_s = 0.0


@asynccontextmanager
async def silenced(server: RabbitServer) -> AsyncIterator[tuple[int, Silence]]:
    """A port before the broker. Its frames are read as AMQP 0-9-1, 4.2.3 has them: kind, channel, length, payload, end."""
    silence, tasks = Silence(), set[asyncio.Task[None]]()

    async def back(frames: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await frames.readexactly(7)
                kind, number, length = struct.unpack(">BHL", head)
                rest = await frames.readexactly(length + 1)
                if kind == 1 and number == silence.channel and rest[:4] == struct.pack(">HH", 60, 80):  # basic.ack
                    silence.swallowed += 1
                else:
                    await asyncio.sleep(silence.slow_s)
                    writer.write(head + rest)
        writer.close()

    async def came(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", server.port)
        tasks.add(asyncio.create_task(back(theirs, writer)))
        with suppress(ConnectionError):
            while part := await reader.read(65536):
                await asyncio.sleep(silence.slow_s)
                ours.write(part)
        ours.close()

    front = await asyncio.start_server(came, "127.0.0.1", 0)
    async with front:
        yield front.sockets[0].getsockname()[1], silence
    await asyncio.gather(*tasks)


async def test_open_does_not_fail_because_the_broker_is_away_and_a_ping_says_so() -> None:
    with not_started() as server:
        made = await opened(server, routing_key="q")
        with pytest.raises(DestinationError) as away:
            await made.ping()
        assert away.value.code == "connect_failed"
        await asyncio.to_thread(server.start)
        await made.ping()
        await made.close()


async def test_a_broker_in_need_takes_nothing_and_says_so_before_it_is_sent(server: RabbitServer, queue: str) -> None:
    made = await opened(server, routing_key=queue, retries={"attempts": 1})
    await made.send(asked(b"{}"))
    await asyncio.to_thread(server.control, "set_vm_memory_high_watermark", "absolute", "1MiB")
    try:
        with pytest.raises(DestinationError):  # the first one after the alarm is what the broker answers with it
            await _sends_until_it_fails(made)
        error = await refused(made)
        assert (error.code, error.sent) == ("upstream_throttled", False)
    finally:
        await asyncio.to_thread(server.control, "set_vm_memory_high_watermark", "0.4")
    async with asyncio.timeout(20):
        while True:
            try:
                await made.send(asked(b"{}", key="after"))
                break
            except DestinationError:
                await asyncio.sleep(0.1)
    await made.close()
    assert id_of("after") in [each.header.properties.message_id for each in await read_all(server, queue)]


async def _sends_until_it_fails(made: MessageDestination) -> None:
    async with asyncio.timeout(20):
        while True:
            await made.with_timeouts(total=1.0).send(asked(b"{}"))
