"""What an event costs that comes from a broker and goes on to it: CPU of a bare loop of the same client library, and of Lockgate's consumer
and destination without anything between them, over that.

The bare loop does what is promised of an event and nothing else: it takes, sends on under an id, waits for the acknowledgement, and
acknowledges. Sixty-four are under way at once, as a source has them that says nothing else. Brokers are processes of their own, and not
counted. Of Lockgate's processes everything is: that the verifiable index of the records is kept too, every ten seconds, so the figure is
the mean of all runs.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from statistics import fmean
from types import ModuleType
from typing import Any

from adapters.messaging.destination import MessageDestination
from router.ports import Consumer, Outbound
from router.system import SystemClock, SystemRandom
from tests.bench.events_decided import Decided
from tests.bench.report import Figure, Report, median, spread
from tests.contract.kafka_broker import KafkaBroker, kafka_broker
from tests.contract.nats_server import NatsServer, nats_server

CONTENT = b'{"specversion":"1.0","type":"order.paid","source":"/shop","id":"%d","data":{"amount":3,"note":"' + b"n" * 200 + b'"}}'
MOST_US = 500.0
AT_ONCE = 64  # the default of an event source


@dataclass(frozen=True, slots=True)
class Way:
    """`fill` puts so many events there, `drain` takes so many and sends them on."""

    fill: Callable[[int], Awaitable[None]]
    drain: Callable[[int], Awaitable[None]]

    async def spent(self, events: int) -> float:
        """Microseconds of CPU an event."""
        await self.fill(events)
        began = time.process_time()
        await self.drain(events)
        return (time.process_time() - began) / events * 1e6


async def measure(report: Report, repetitions: int, events: int) -> None:
    with nats_server() as server:
        async with AsyncExitStack() as stack:
            bare = await _nats(server, stack)
            figures = await _figures("NATS JetStream", bare, await _our_nats(server, stack), repetitions, events)
            figures.append(await _decided("NATS JetStream", bare, *await _nats_decided(server, stack), repetitions, events))
    with kafka_broker() as broker:
        async with AsyncExitStack() as stack:
            bare = await _kafka(broker, stack)
            figures += await _figures("Kafka", bare, await _our_kafka(broker, stack), repetitions, events)
            figures.append(await _decided("Kafka", bare, *await _kafka_decided(broker, stack), repetitions, events))
    report.section(f"An event from a broker and on to it, {AT_ONCE} at once", figures)


async def _figures(name: str, bare: Way, ours: Way, repetitions: int, events: int) -> list[Figure]:
    took = {way: list[float]() for way in (bare, ours)}
    for number in range(repetitions + 1):
        for way, each in took.items():
            one = await way.spent(events)
            if number:  # the first one joins and connects
                each.append(one)
    over = [one - other for one, other in zip(took[ours], took[bare], strict=True)]
    return [
        Figure(f"{name}: bare loop, CPU an event", median(took[bare]), "µs", noise=spread(took[bare])),
        Figure(f"{name}: our consumer and destination, over that", median(over), "µs", noise=spread(over)),
    ]


async def _decided(name: str, bare: Way, decided: Decided, fill: Callable[[int], Awaitable[None]], repetitions: int, events: int) -> Figure:
    """In turns with the bare loop, so that both meet the same machine."""
    over = list[float]()
    for number in range(repetitions + 1):
        ours, loop = await decided.spent(fill, events), await bare.spent(events)
        if number:
            over.append(ours - loop)
    return Figure(f"{name}: consumed, decided, delivered by Lockgate, over that", fmean(over), "µs", MOST_US, spread(over))


async def _nats_decided(server: NatsServer, stack: AsyncExitStack) -> tuple[Decided, Callable[[int], Awaitable[None]]]:
    import nats

    connected = await nats.connect(server.url)
    stack.push_async_callback(connected.close)
    stream = connected.jetstream()
    await stream.add_stream(name="DECIDE", subjects=["decide.in", "decide.buried"])
    await stream.add_stream(name="DECIDED", subjects=["decided.out"])
    reading = {
        "adapter": "nats", "servers": server.url, "stream": "DECIDE", "subjects": ["decide.in"], "durable": "lockgate", "bury": "aside",
    }  # fmt: skip
    await stream.add_stream(name="ASIDE", subjects=["aside"])
    sent = 0

    async def fill(events: int) -> None:
        nonlocal sent
        for start in range(0, events, AT_ONCE):
            headers = {"content-type": "application/json"}
            await asyncio.gather(
                *(
                    stream.publish("decide.in", CONTENT % (sent + start + each), headers=headers)
                    for each in range(min(AT_ONCE, events - start))
                )
            )
        sent += events

    decided = Decided(reading, {"adapter": "nats", "servers": server.url, "subject": "decided.out"})
    stack.callback(decided.stop)
    await asyncio.to_thread(decided.start)
    return decided, fill


async def _kafka_decided(broker: KafkaBroker, stack: AsyncExitStack) -> tuple[Decided, Callable[[int], Awaitable[None]]]:
    broker.create("decide", "decided", "aside")
    reading = {"adapter": "kafka", "brokers": broker.address, "topics": "decide", "group": "lockgate", "bury": "aside"}
    sent = 0

    async def fill(events: int) -> None:
        nonlocal sent
        contents = (CONTENT % (sent + each) for each in range(events))
        await asyncio.to_thread(broker.put, "decide", *contents, headers=[("content-type", b"application/json")])
        sent += events

    decided = Decided(reading, {"adapter": "kafka", "brokers": broker.address, "topic": "decided"})
    stack.callback(decided.stop)
    await asyncio.to_thread(decided.start)
    return decided, fill


async def _nats(server: NatsServer, stack: AsyncExitStack) -> Way:
    import nats

    connected = await nats.connect(server.url)
    stack.push_async_callback(connected.close)
    stream = connected.jetstream()
    await stream.add_stream(name="IN", subjects=["in"])
    await stream.add_stream(name="OUT", subjects=["out", "ours.out"])
    await stream.add_stream(name="OURS", subjects=["ours.in"])
    pulling = await stream.pull_subscribe("in", "bench", stream="IN")

    async def fill(events: int) -> None:
        for start in range(0, events, AT_ONCE):
            await asyncio.gather(*(stream.publish("in", CONTENT % (start + each)) for each in range(min(AT_ONCE, events - start))))

    async def one(message: Any) -> None:
        await stream.publish("out", message.data, headers={"Nats-Msg-Id": f"bare-{message.metadata.sequence.stream}"})
        await message.ack_sync()

    async def drain(events: int) -> None:
        done = 0
        while done < events:
            taken = await pulling.fetch(AT_ONCE)
            await asyncio.gather(*(one(each) for each in taken))
            done += len(taken)

    return Way(fill, drain)


async def _our_nats(server: NatsServer, stack: AsyncExitStack) -> Way:
    import nats

    from adapters import nats_consumer, nats_destination

    connected = await nats.connect(server.url)
    stack.push_async_callback(connected.close)

    async def fill(events: int) -> None:
        for start in range(0, events, AT_ONCE):
            await asyncio.gather(
                *(connected.jetstream().publish("ours.in", CONTENT % (start + each)) for each in range(min(AT_ONCE, events - start)))
            )

    reading = {"servers": server.url, "stream": "OURS", "durable": "ours", "bury": "buried"}
    return Way(fill, await _through(nats_consumer, reading, nats_destination, {"servers": server.url, "subject": "ours.out"}, stack))


async def _kafka(broker: KafkaBroker, stack: AsyncExitStack) -> Way:
    from confluent_kafka import Consumer, Producer

    broker.create("in", "out", "ours", "ours-out", "buried")
    loop = asyncio.get_running_loop()
    own = {"bootstrap.servers": broker.address, "log_level": 0}
    producer = Producer({**own, "enable.idempotence": True, "acks": "all", "linger.ms": 0})
    consumer = Consumer({**own, "group.id": "bench", "enable.auto.commit": False, "auto.offset.reset": "earliest"})
    consumer.subscribe(["in"])
    stack.callback(consumer.close)

    async def produced(contents: list[tuple[bytes, bytes]]) -> None:
        waiting, all_there = len(contents), asyncio.Event()

        def told(error: Any, _: Any) -> None:
            nonlocal waiting
            waiting -= 1
            if error is None and waiting == 0:
                loop.call_soon_threadsafe(all_there.set)

        for content, message_id in contents:
            producer.produce("out", content, headers=[("id", message_id)], on_delivery=told)
        while not all_there.is_set():
            await asyncio.to_thread(producer.poll, 0.05)
            await asyncio.sleep(0)

    async def fill(events: int) -> None:
        await asyncio.to_thread(broker.put, "in", *(CONTENT % each for each in range(events)))

    async def drain(events: int) -> None:
        done = 0
        while done < events:
            if taken := await asyncio.to_thread(consumer.consume, AT_ONCE, 0.2):
                await produced([(each.value(), b"%d-%d" % (each.partition(), each.offset())) for each in taken])
                consumer.commit(asynchronous=True)
                done += len(taken)

    return Way(fill, drain)


async def _our_kafka(broker: KafkaBroker, stack: AsyncExitStack) -> Way:
    from adapters import kafka_consumer, kafka_destination

    async def fill(events: int) -> None:
        await asyncio.to_thread(broker.put, "ours", *(CONTENT % each for each in range(events)))

    reading = {"brokers": broker.address, "topics": "ours", "group": "ours", "bury": "buried"}
    return Way(fill, await _through(kafka_consumer, reading, kafka_destination, {"brokers": broker.address, "topic": "ours-out"}, stack))


async def _through(
    reader: ModuleType, reading: dict[str, Any], writer: ModuleType, writing: dict[str, Any], stack: AsyncExitStack
) -> Callable[[int], Awaitable[None]]:
    parts: dict[str, Any] = {"name": "bench", "clock": SystemClock(), "random": SystemRandom()}
    consumer: Consumer = reader.build(reader.Config.model_validate(reading), **parts)
    destination: MessageDestination = writer.build(writer.Config.model_validate(writing), **parts)
    stack.push_async_callback(consumer.close)
    stack.push_async_callback(destination.close)
    await consumer.open()
    await destination.open()

    async def one(message: Any) -> None:
        decision = uuid.uuid4().hex
        headers = [(b"content-type", b"application/json"), (b"x-lockgate-decision-id", decision.encode())]
        await destination.send(Outbound("POST", "/events/bench", headers, message.content, idempotency_key=decision))
        await consumer.acknowledge([message])

    async def drain(events: int) -> None:
        done = 0
        while done < events:
            taken = await consumer.take(AT_ONCE)
            await asyncio.gather(*(one(each) for each in taken))
            done += len(taken)

    return drain
