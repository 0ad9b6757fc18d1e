"""RabbitMQ as an event source, over a real broker."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from tests.needs import needs

needs("aiormq", "pip install 'lockgate[rabbitmq]'")

from adapters.messaging.aside import REASON
from adapters.rabbitmq.config import ConsumerConfig
from adapters.rabbitmq_consumer import RabbitConsumer, build
from router.errors import DestinationError
from router.system import SystemClock, SystemRandom
from tests.contract.consumer_promises import SOURCE_NAME, Aside, Promises, Yard, contents, nothing, one, opened, some
from tests.contract.rabbit_by_hand import channel, make_queue, put, read_all
from tests.rabbitmq_server import PASSWORD, READER, USER, RabbitServer, running

SETTLED_S = 3.0
"""A node alone that is killed sooner after it made a quorum queue never finds a leader for it again (RabbitMQ 3.10.8)."""


@pytest.fixture(scope="module")
def server() -> Iterator[RabbitServer]:
    with running() as made:
        yield made


def consumer(server: RabbitServer, queue: str, **settings: Any) -> RabbitConsumer:
    given = {
        "servers": [f"127.0.0.1:{server.port}"],
        "username": USER,
        "password": PASSWORD,
        "queue": queue,
        "dead_letter": {"routing_key": f"{queue}.dead"},
        **settings,
    }
    return build(ConsumerConfig.model_validate(given), name=SOURCE_NAME, clock=SystemClock(), random=SystemRandom())


async def a_yard(server: RabbitServer, kind: str, *, ordered: bool, name: str = "") -> Yard:
    name = name or f"q-{uuid.uuid4()}"
    await make_queue(server, name, kind, **({"x_single_active_consumer": True} if ordered else {}))
    await make_queue(server, f"{name}.dead")
    more: dict[str, Any] = {"ordered": True, "declare": {"type": kind}} if ordered else {}

    async def given(content: bytes, headers: Mapping[str, str], key: str) -> None:
        kept = {header: value for header, value in headers.items() if header != "content-type"}
        await put(server, name, content, kept, content_type=headers.get("content-type"))

    async def buried() -> Sequence[Aside]:
        return [(each.body, dict(each.header.properties.headers or {})) for each in await read_all(server, f"{name}.dead")]

    async def kill() -> None:
        if kind == "quorum":
            await asyncio.sleep(SETTLED_S)
        await asyncio.to_thread(server.kill)

    async def revive() -> None:
        await asyncio.to_thread(server.start)

    # Classic queues say of a message that it came before, and not how often: of the second time that is right.
    return Yard(lambda: consumer(server, name, **more), given, buried, kill, revive, ordered=ordered, shares=not ordered)


class TestQuorumQueue(Promises):
    @pytest.fixture
    async def yard(self, server: RabbitServer) -> Yard:
        return await a_yard(server, "quorum", ordered=False)


class TestClassicQueue(Promises):
    @pytest.fixture
    async def yard(self, server: RabbitServer) -> Yard:
        return await a_yard(server, "classic", ordered=False)


class TestSingleActiveConsumer(Promises):
    @pytest.fixture
    async def yard(self, server: RabbitServer) -> Yard:
        return await a_yard(server, "quorum", ordered=True)


async def test_a_long_wait_is_the_brokers_and_the_count_goes_along(server: RabbitServer) -> None:
    name = f"q-{uuid.uuid4()}"
    yard = await a_yard(server, "quorum", ordered=False, name=name)
    async with opened(Yard(lambda: consumer(server, name, hold="0s", prefetch=1), yard.put, yard.buried)) as reader:
        await yard.put(b"later", {"ce-type": "order.made"}, "k")
        await yard.put(b"next", {}, "k")
        taken = await one(reader)
        await reader.give_back(taken, 2.0)
        assert (await one(reader, acknowledge=True)).content == b"next"  # what waits takes no room
        await nothing(reader, 1.0)
        again = await one(reader)
        assert (again.content, again.tries, again.fields["ce-type"]) == (b"later", 2, "order.made")
        await reader.give_back(again, 0.5)
        third = await one(reader)
        assert third.tries == 3
        await reader.bury(third, "event_invalid")
    ((content, headers),) = await yard.buried()
    assert (content, headers[REASON], headers["x-lockgate-tries"]) == (b"later", "event_invalid", "3")


async def test_what_waits_is_bounded_by_prefetch(server: RabbitServer) -> None:
    name = f"q-{uuid.uuid4()}"
    yard = await a_yard(server, "quorum", ordered=False, name=name)
    for number in range(10):
        await yard.put(b"%d" % number, {}, "k")
    async with opened(Yard(lambda: consumer(server, name, prefetch=3), yard.put, yard.buried)) as reader:
        await some(reader, 3, acknowledge=False)
        await nothing(reader)
        async with channel(server) as by_hand:
            left = await by_hand.queue_declare(name, passive=True)
        assert left.message_count == 7


async def test_another_reader_of_an_ordered_queue_waits_and_goes_on_in_order(server: RabbitServer) -> None:
    yard = await a_yard(server, "quorum", ordered=True)
    async with opened(yard) as active, opened(yard) as waits:
        for number in range(6):
            await yard.put(b"%d" % number, {}, "k")
        assert contents(await some(active, 2)) == [b"0", b"1"]
        await nothing(waits)
        await active.close()
        assert contents(await some(waits, 4)) == [b"2", b"3", b"4", b"5"]


async def test_cloudevents_attributes_are_as_over_http(server: RabbitServer) -> None:
    name = f"q-{uuid.uuid4()}"
    yard = await a_yard(server, "classic", ordered=False, name=name)
    async with opened(yard) as reader:
        await put(server, name, b"{}", {"cloudEvents:type": "order.made", "cloudEvents_id": "e-1", "n": 7, "x": None}, message_id="m-1")
        taken = await one(reader, acknowledge=True)
    assert {"ce-type": "order.made", "ce-id": "e-1", "n": "7", "message-id": "m-1"}.items() <= taken.fields.items()
    assert "x" not in taken.fields


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"password": "wrong"}, "upstream_denied"),
        ({"queue": "missing"}, "upstream_refused"),
        ({"username": READER, "queue": "amq.none"}, "upstream_refused"),
        ({"ordered": True, "declare": {"type": "quorum"}}, "upstream_refused"),
        ({"servers": ["127.0.0.1:1"]}, "connect_failed"),
    ],
)
async def test_what_cannot_be_read_is_refused_by_name(server: RabbitServer, settings: dict[str, Any], code: str) -> None:
    await make_queue(server, "plain", "quorum")
    made = consumer(server, **{"queue": "plain", "dead_letter": {"routing_key": "dead"}, **settings})
    with pytest.raises(DestinationError) as raised:
        await made.open()
    assert raised.value.code == code
    await made.close()


async def test_what_cannot_be_put_aside_is_not_acknowledged(server: RabbitServer) -> None:
    name = f"q-{uuid.uuid4()}"
    yard = await a_yard(server, "quorum", ordered=False, name=name)
    nowhere = Yard(lambda: consumer(server, name, dead_letter={"routing_key": "nowhere"}), yard.put, yard.buried)
    await yard.put(b"bad", {}, "k")
    async with opened(nowhere) as reader:
        taken = await one(reader)
        with pytest.raises(DestinationError) as raised:
            await reader.bury(taken, "event_invalid")
        assert raised.value.code == "upstream_refused"
    async with opened(yard) as reader:
        assert (await one(reader, acknowledge=True)).content == b"bad"


async def test_a_queue_that_is_deleted_is_told_to_who_reads_it(server: RabbitServer) -> None:
    name = f"q-{uuid.uuid4()}"
    yard = await a_yard(server, "classic", ordered=False, name=name)
    async with opened(yard) as reader:
        taking = asyncio.create_task(reader.take(1))
        await asyncio.sleep(0.2)
        async with channel(server) as by_hand:
            await by_hand.queue_delete(name)
        with pytest.raises(DestinationError) as raised:
            await asyncio.wait_for(taking, 30)
        assert raised.value.code == "upstream_reset"
