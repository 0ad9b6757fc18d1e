"""What a `kafka` destination and consumer do when the brokers, the topic, the credentials or the request are not as they should be."""

from __future__ import annotations

import asyncio
import signal
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.contract.kafka_broker import HOW, KafkaBroker, kafka_broker
from tests.needs import needs

needs("confluent_kafka", HOW)

import orjson
from pydantic import ValidationError

from adapters.kafka.places import Places
from adapters.kafka_consumer import Config as ConsumerConfig
from adapters.kafka_destination import Config
from examples.halden.demo.company import free_ports
from router.errors import DestinationError
from tests.contract.consumer_promises import contents, nothing, one, opened, put, some
from tests.contract.message_promises import asked, whole
from tests.contract.test_kafka import ready, yard_at
from tests.e2e.authority import Authority


@pytest.fixture
def broker() -> Iterator[KafkaBroker]:
    with kafka_broker() as made:
        made.create("orders")
        yield made


async def sent_at_last(made: Any, body: bytes) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await made.send(asked(body))
                return
            except DestinationError:
                await asyncio.sleep(0.2)


async def refused(made: Any, *arguments: Any, **more: Any) -> DestinationError:
    with pytest.raises(DestinationError) as error:
        await made.send(asked(*arguments, **more))
    return error.value


async def test_the_message_has_its_key_what_was_decided_the_trace_and_the_events_attributes(broker: KafkaBroker) -> None:
    async with ready(broker, key="{{ body.customer }}") as made:
        answers = [await whole(made, asked(b'{"customer": "c-1"}', [(b"ce-type", b"order.made")])) for _ in range(5)]
    assert len({orjson.loads(answer)["partition"] for _, answer in answers}) == 1
    found = await asyncio.to_thread(broker.all, "orders")
    headers = {name: value.decode() for name, value in found[0].headers()}
    assert found[0].key() == b"c-1"
    assert headers["traceparent"].startswith("00-0af76519")
    assert headers["x-lockgate-message-id"] == headers["x-lockgate-decision-id"]
    assert (headers["ce-type"], headers["content-type"]) == ("order.made", "application/json")


async def test_a_topic_that_is_not_there_is_refused(broker: KafkaBroker) -> None:
    async with ready(broker, topic="missing") as made:
        error = await refused(made, b"{}")
    assert (error.code, error.final, error.sent) == ("upstream_refused", True, False)


async def test_what_a_caller_wrote_leads_to_no_other_topic(broker: KafkaBroker) -> None:
    broker.create("secret")
    async with ready(broker, topic="{{ body.to }}", topics=["orders"]) as made:
        await made.send(asked(b'{"to":"orders"}'))
        error = await refused(made, b'{"to":"secret"}')
    assert (error.code, error.status, error.sent) == ("input_unmapped", 422, False)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"topic": "{{ body.to }}"}, "topics"),
        ({"topic": "a b"}, "characters"),
        ({"topic": "a", "topics": ["a"]}, "no use"),
        ({"topic": "a", "sasl": {"mechanism": "PLAIN", "user": "u", "password": "p"}}, "as it is"),
    ],
)
def test_settings_that_cannot_be_are_one_sentence(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Config.model_validate({"brokers": "127.0.0.1:1", **settings})


def test_no_other_machine_is_spoken_to_unencrypted_unless_it_is_said() -> None:
    """With a login or without: what is sent is somebody's request."""
    plain = {"brokers": ["127.0.0.1:1", "kafka.example:9092"], "topic": "a"}
    with pytest.raises(ValidationError, match=r"unencrypted at kafka\.example:9092; set 'tls' .*, or 'insecure: true'"):
        Config.model_validate(plain)
    ways: list[dict[str, Any]] = [{"insecure": True}, {"tls": {}}, {"brokers": ["[::1]:1", "localhost:2"]}]
    for allowed in ways:
        Config.model_validate(plain | allowed)


def test_a_consumer_buries_nothing_where_it_reads() -> None:
    with pytest.raises(ValidationError, match="come again"):
        ConsumerConfig.model_validate({"brokers": "127.0.0.1:1", "topics": "a", "group": "g", "bury": "a"})


async def test_brokers_that_are_away_are_told_at_once_and_found_again(broker: KafkaBroker) -> None:
    async with ready(broker, connect="1s", retries={"attempts": 1}, circuit={"failures": 1000}, timeout="3s") as made:
        await made.send(asked(b"0"))
        broker.kill()
        codes = [(await refused(made, b"1")).code for _ in range(2)]
        assert codes[0] in ("connect_failed", "upstream_reset", "upstream_timeout")
        assert codes[1] == "connect_failed"
        with pytest.raises(DestinationError):
            await made.ping()
        broker.start()
        broker.create("orders")
        await sent_at_last(made, b"2")
    assert b"2" in [each.value() for each in await asyncio.to_thread(broker.all, "orders")]


async def test_opening_does_not_need_a_broker(broker: KafkaBroker) -> None:
    broker.kill()
    async with ready(broker, connect="1s", retries={"attempts": 1}) as made:
        error = await refused(made, b"{}")
    assert (error.code, error.status, error.sent) == ("connect_failed", 502, False)


async def test_a_broker_that_hangs_costs_no_more_than_the_time_out(broker: KafkaBroker) -> None:
    async with ready(broker, timeout="1s", retries={"attempts": 1}) as made:
        await sent_at_last(made, b"{}")  # the first may take longer, as it connects
        assert broker.process is not None
        broker.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(0.2)
        error = await refused(made, b"{}")
        broker.process.send_signal(signal.SIGCONT)
    assert (error.code, error.sent) == ("upstream_timeout", True)


async def test_a_broker_that_is_no_tls_server_hears_nothing(broker: KafkaBroker, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with ready(broker, tls={"ca": str(authority.ca)}, connect="2s", retries={"attempts": 1}) as made:
        error = await refused(made, b"{}")
    assert error.sent is False
    assert error.code in ("tls_failed", "connect_failed")


@asynccontextmanager
async def tls_before(port: int, listening: int, *files: Path) -> AsyncIterator[None]:
    """TLS in front of a broker, whose own is not to be had: with the certificate, its key, and the authority of clients' certificates."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files[2])
    tls.load_cert_chain(*files[:2])
    tls.verify_mode = ssl.CERT_REQUIRED
    both, ends = set[asyncio.Task[None]](), list[asyncio.StreamWriter]()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_broker, to_broker = await asyncio.open_connection("127.0.0.1", port)
        ends.extend((writer, to_broker))
        both.add(asyncio.create_task(pump(from_broker, writer)))
        both.add(asyncio.create_task(pump(reader, to_broker)))

    server = await asyncio.start_server(relay, "127.0.0.1", listening, ssl=tls)
    try:
        yield
    finally:
        server.close()
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        for end in ends:
            with suppress(AttributeError):  # asyncio's own, of one over TLS that is closed already
                end.transport.abort()
        await asyncio.sleep(0.1)  # until the transports have noticed


async def test_tls_is_verified_both_ways(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    mine, my_key = authority.issue("client")
    shown = {"certificate": str(mine), "key": str(my_key)}
    (port,) = free_ports(1)
    with kafka_broker(advertised=port) as server:
        async with tls_before(server.port, port, *authority.issue("server"), authority.ca):
            own = {"brokers": f"127.0.0.1:{port}", "connect": "2s", "retries": {"attempts": 1}}
            async with ready(server, tls={"ca": str(authority.ca), **shown}, **own) as made:
                await made.ping()
            async with ready(server, tls={"ca": str(stranger.ca), **shown}, **own) as made:
                error = await refused(made, b"{}")
                assert (error.code, error.sent) == ("tls_failed", False)
            async with ready(server, tls={"ca": str(authority.ca)}, **own) as made:
                assert (await refused(made, b"{}")).sent is False


async def test_a_topic_that_is_not_there_is_told_when_the_consumer_opens(broker: KafkaBroker) -> None:
    async with yard_at(broker, topics=["orders", "missing"]) as yard:
        consumer = yard.make()
        with pytest.raises(DestinationError, match="no topic missing"):
            await consumer.open()
        await consumer.close()


async def test_by_key_what_waits_holds_up_only_its_own_key(broker: KafkaBroker) -> None:
    async with yard_at(broker, order="key") as yard, opened(yard) as consumer:
        await put(yard, b"1", key="a")
        await consumer.give_back(await one(consumer), 1.0)
        await put(yard, b"2", key="a")
        await put(yard, b"3", key="b")
        assert contents(await some(consumer, 3)) == [b"3", b"1", b"2"]


async def test_no_more_is_fetched_than_may_be_here(broker: KafkaBroker) -> None:
    async with yard_at(broker, in_flight=10) as yard, opened(yard) as consumer:
        await put(yard, b"first")
        await consumer.acknowledge([await one(consumer)])
        wanted = {b"%d" % number for number in range(300)}
        for number in range(30):
            await put(yard, *(b"%d" % each for each in range(number * 10, number * 10 + 10)), key=f"k{number}")
        await asyncio.sleep(1.0)
        assert consumer._here <= 10 + 500  # type: ignore[attr-defined]  # what one look at the brokers brought may come above it
        assert set(contents(await some(consumer, 300))) == wanted


async def test_what_is_under_way_when_a_partition_goes_comes_to_the_other_and_its_acknowledgement_counts_for_nothing(
    broker: KafkaBroker,
) -> None:
    async with yard_at(broker) as yard, opened(yard) as consumer:
        for number in range(12):
            await put(yard, b"%d" % number, key=f"k{number}")
        taken = await some(consumer, 12, acknowledge=False)
        async with opened(yard) as other:
            again = await one(other)
            await consumer.acknowledge(taken)
            await other.acknowledge([again])
            left = [each for each in taken if each.content == again.content]
            assert len(left) == 1
        await consumer.close()
    async with yard_at(broker) as yard, opened(yard) as consumer:
        await nothing(consumer)


def test_a_place_goes_on_only_without_a_gap() -> None:
    places = Places()
    found = [places.came(("t", 0), offset) for offset in (5, 6, 9)]
    places.done(("t", 0), found[0], 9)
    places.done(("t", 0), found[0], 6)
    assert places.moved() == {}
    places.done(("t", 0), found[0], 5)
    assert places.moved() == {("t", 0): 10}
    assert places.moved() == {}
    places.forget([("t", 0)])
    places.done(("t", 0), found[0], 10)
    assert places.moved() == {}


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_credentials_that_are_refused_are_told_apart_from_brokers_that_are_away(mechanism: str) -> None:
    """This broker takes no users once it wants credentials, so that only the refusal can be tried."""
    with kafka_broker("--authentication") as server:
        sasl = {"mechanism": mechanism, "user": "lockgate", "password": "wrong"}
        async with ready(server, sasl=sasl, connect="2s", retries={"attempts": 1}) as made:
            error = await refused(made, b"{}")
            assert (error.code, error.sent) == ("upstream_denied", False)
