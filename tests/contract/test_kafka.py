"""The `kafka` destination and consumer, over a real broker that speaks Kafka's protocol."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.contract.kafka_broker import HOW, KafkaBroker, kafka_broker
from tests.needs import needs

needs("confluent_kafka", HOW)

import orjson

from adapters.kafka.consumer import KafkaConsumer
from adapters.kafka.peer import MESSAGE_ID
from adapters.kafka_consumer import Config as ConsumerConfig
from adapters.kafka_consumer import build as build_consumer
from adapters.kafka_destination import Config, build
from adapters.messaging.destination import MessageDestination
from router.system import SystemClock, SystemRandom
from tests.contract.consumer_promises import SOURCE_NAME, Aside, Yard
from tests.contract.consumer_promises import Promises as ConsumerPromises
from tests.contract.message_promises import Case, Promises


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaBroker]:
    with kafka_broker() as made:
        yield made


@pytest.fixture
def own_broker() -> Iterator[KafkaBroker]:
    """One that a test may do harm to."""
    with kafka_broker() as made:
        yield made


def destination(broker: KafkaBroker, **settings: Any) -> MessageDestination:
    given = {"brokers": broker.address, "topic": "orders", "timeout": "5s", "connect": "2s", **settings}
    return build(Config.model_validate(given), name="orders", clock=SystemClock(), random=SystemRandom())


@asynccontextmanager
async def ready(broker: KafkaBroker, **settings: Any) -> AsyncIterator[MessageDestination]:
    made = destination(broker, **settings)
    await made.open()
    try:
        yield made
    finally:
        await made.close()


class TestDestination(Promises):
    @pytest.fixture
    async def case(self, broker: KafkaBroker) -> AsyncIterator[Case]:
        topic = f"orders-{uuid.uuid4().hex[:8]}"
        await asyncio.to_thread(broker.create, topic)
        ids: dict[str, str] = {}
        seen: dict[str, list[bytes]] = {}
        async with ready(broker, topic=topic, key="{{ request.idempotency_key }}") as made:
            send = made.send

            async def noting(outbound: Any) -> Any:
                reply = await send(outbound)
                ids[outbound.idempotency_key or ""] = orjson.loads(reply._content)["id"]
                return reply

            made.send = noting  # type: ignore[method-assign]  # the receipt says under which id the message lies

            async def arrived(key: str) -> list[bytes]:
                if ids[key] not in seen:  # reading a topic to its end takes about a second
                    seen.clear()
                    for each in await asyncio.to_thread(broker.all, topic):
                        seen.setdefault(dict(each.headers())[MESSAGE_ID].decode(), []).append(each.value())
                return seen.get(ids[key], [])

            yield Case(made, arrived, once=False)


SESSION = "2s"
"""This broker lets the first member of a group wait for half of it, until it is sure that no others come."""


@asynccontextmanager
async def yard_at(broker: KafkaBroker, **settings: Any) -> AsyncIterator[Yard]:
    """A topic of its own, with one for what is put aside."""
    topic = f"s{uuid.uuid4().hex[:12]}"
    aside = f"{topic}-aside"

    def make() -> KafkaConsumer:
        given = {"brokers": broker.address, "topics": topic, "group": f"g-{topic}", "bury": aside, "session": SESSION, **settings}
        return build_consumer(ConsumerConfig.model_validate(given), name=SOURCE_NAME, clock=SystemClock(), random=SystemRandom())

    async def put_one(content: bytes, fields: Mapping[str, str], key: str) -> None:
        headers = [(name, value.encode()) for name, value in fields.items()]
        await asyncio.to_thread(broker.put, topic, content, key=key.encode(), headers=headers)

    async def buried() -> Sequence[Aside]:
        found = await asyncio.to_thread(broker.all, aside, 1)
        return [(each.value(), {name: value.decode() for name, value in each.headers()}) for each in found]

    async def kill() -> None:
        broker.kill()

    async def revive() -> None:
        broker.start()
        await asyncio.to_thread(broker.create, topic, aside)

    await asyncio.to_thread(broker.create, topic, aside)
    yield Yard(make, put_one, buried, kill, revive, counts=False, alone=False, keeps=False)


class TestConsumer(ConsumerPromises):
    @pytest.fixture
    async def yard(self, own_broker: KafkaBroker) -> AsyncIterator[Yard]:
        async with yard_at(own_broker) as made:
            yield made
