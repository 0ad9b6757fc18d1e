"""The `nats` destination and consumer, over a real NATS server with JetStream."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.contract.nats_server import HOW, NatsServer, nats_server
from tests.needs import needs

needs("nats", HOW)

import nats
import orjson

from adapters.messaging.destination import MessageDestination
from adapters.nats.consumer import NatsConsumer
from adapters.nats_consumer import Config as ConsumerConfig
from adapters.nats_consumer import build as build_consumer
from adapters.nats_destination import Config, build
from router.system import SystemClock, SystemRandom
from tests.contract.consumer_promises import SOURCE_NAME, Aside, Yard
from tests.contract.consumer_promises import Promises as ConsumerPromises
from tests.contract.message_promises import Case, Promises


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with nats_server() as made:
        yield made


@pytest.fixture
def own_server() -> Iterator[NatsServer]:
    """One that a test may do harm to."""
    with nats_server() as made:
        yield made


async def listening(service: Any, subject: str, answer: Any) -> None:
    """Returns when the server knows of it. The library's ping overtakes what it has not written yet; a second one does not."""
    await service.subscribe(subject, cb=answer)
    await service.flush()
    await service.flush()


@asynccontextmanager
async def client(server: NatsServer, **options: Any) -> AsyncIterator[Any]:
    """Another's client of the same server."""
    made = await nats.connect(server.url, **options)
    try:
        yield made
    finally:
        await made.close()


def destination(server: NatsServer, **settings: Any) -> MessageDestination:
    given = {"servers": server.url, "subject": "orders.{{ decision.intent }}", "connect": "500ms", "timeout": "5s", **settings}
    return build(Config.model_validate(given), name="orders", clock=SystemClock(), random=SystemRandom())


@asynccontextmanager
async def ready(server: NatsServer, **settings: Any) -> AsyncIterator[MessageDestination]:
    made = destination(server, **settings)
    await made.open()
    try:
        yield made
    finally:
        await made.close()


async def stream(connected: Any, name: str = "ORDERS", subjects: Sequence[str] = ("orders.>",), **more: Any) -> None:
    await connected.jetstream().add_stream(name=name, subjects=list(subjects), **more)


async def kept(connected: Any, name: str = "ORDERS") -> list[Any]:
    """All messages of a stream."""
    manager = connected.jetstream()
    state = (await manager.stream_info(name)).state
    return [await manager.get_msg(name, number) for number in range(state.first_seq, state.last_seq + 1) if state.messages]


class TestStream(Promises):
    @pytest.fixture
    async def case(self, server: NatsServer) -> AsyncIterator[Case]:
        async with client(server) as connected, ready(server, stream="ORDERS") as made:
            await stream(connected)

            async def arrived(key: str) -> list[bytes]:
                wanted = orjson.loads(made_by_id[key]) if key in made_by_id else None
                return [each.data for each in await kept(connected) if wanted is None or each.headers["Nats-Msg-Id"] == wanted["id"]]

            made_by_id: dict[str, bytes] = {}
            send = made.send

            async def noting(outbound: Any) -> Any:
                reply = await send(outbound)
                if outbound.idempotency_key is not None:
                    made_by_id[outbound.idempotency_key] = reply._content
                return reply

            made.send = noting  # type: ignore[method-assign]  # the receipt says under which id the message lies
            yield Case(made, arrived)
            await connected.jetstream().delete_stream("ORDERS")


class TestRequest(Promises):
    @pytest.fixture
    async def case(self, server: NatsServer) -> AsyncIterator[Case]:
        heard: dict[str, list[bytes]] = {}
        last: dict[str, list[bytes]] = {}

        async with client(server) as service, ready(server, mode="request", subject="cancel") as made:

            async def answer(message: Any) -> None:
                heard.setdefault(message.headers["Nats-Msg-Id"], []).append(message.data)
                last[message.headers["x-lockgate-decision-id"]] = heard[message.headers["Nats-Msg-Id"]]
                await message.respond(b'{"done":true}')

            await listening(service, "cancel", answer)
            send = made.send
            decisions: dict[str, str] = {}

            async def noting(outbound: Any) -> Any:
                fields = dict(outbound.headers)
                decisions[outbound.idempotency_key or ""] = fields[b"x-lockgate-decision-id"].decode()
                return await send(outbound)

            made.send = noting  # type: ignore[method-assign]

            async def arrived(key: str) -> list[bytes]:
                return last[decisions[key]]

            yield Case(made, arrived, status=200, once=False)


@asynccontextmanager
async def yard_at(server: NatsServer, **settings: Any) -> AsyncIterator[Yard]:
    """A stream of its own, with a place for what is put aside."""
    name = f"S{uuid.uuid4().hex[:12]}"

    @asynccontextmanager
    async def connected() -> AsyncIterator[Any]:
        async with client(server) as made:
            yield made

    def make() -> NatsConsumer:
        given = {"servers": server.url, "stream": name, "durable": "lockgate", "bury": f"{name}-aside.orders", "ack_wait": "2s", **settings}
        return build_consumer(ConsumerConfig.model_validate(given), name=SOURCE_NAME, clock=SystemClock(), random=SystemRandom())

    async def put_one(content: bytes, fields: Mapping[str, str], key: str) -> None:
        async with connected() as made:
            await made.jetstream().publish(f"{name}.{key}", content, headers=dict(fields) or None)

    async def buried() -> Sequence[Aside]:
        async with connected() as made:
            return [(each.data, each.headers) for each in await kept(made, f"{name}-aside")]

    async def kill() -> None:
        server.kill()

    async def revive() -> None:
        server.start()

    async with connected() as made:
        await stream(made, name, [f"{name}.>"])
        await stream(made, f"{name}-aside", [f"{name}-aside.>"])
    yield Yard(make, put_one, buried, kill, revive, ordered=settings.get("order") is not None)


class TestConsumer(ConsumerPromises):
    @pytest.fixture
    async def yard(self, own_server: NatsServer) -> AsyncIterator[Yard]:
        async with yard_at(own_server) as made:
            yield made
