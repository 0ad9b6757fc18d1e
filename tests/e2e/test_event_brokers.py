"""Events from real brokers: each is decided once, delivered, and acknowledged; what is no event lies aside, with the reason."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import redis_server
from tests.contract.aws_server import amazon, attributes, needed
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, prepared
from tests.e2e.test_events import Target
from tests.e2e.yard import load, save
from tests.needs import needs

needed()
needs("aiormq", "pip install 'lockgate[rabbitmq]'")
needs("hiredis", "pip install 'lockgate[redis]'")
needs("nats", "pip install 'lockgate[nats]'")
needs("confluent_kafka", "pip install 'lockgate[kafka]'")

import nats as nats_client
from confluent_kafka import Consumer as KafkaClient
from confluent_kafka import TopicPartition

from tests.contract.kafka_broker import kafka_broker
from tests.contract.nats_server import nats_server
from tests.contract.rabbit_by_hand import make_queue, put, read_all
from tests.contract.test_kafka import SESSION
from tests.rabbitmq_server import PASSWORD, USER
from tests.rabbitmq_server import running as rabbit

GOOD, BAD = b'{"order":7}', b"no json"


@dataclass
class Broker:
    """`settings` of the source, whose secret lies in the file `secret`; `send` a content with an id; `aside` gives what lies aside and why;
    `left` counts what is not acknowledged."""

    settings: dict[str, Any]
    secret: str
    send: Callable[[bytes, str], Any]
    aside: Callable[[], list[tuple[bytes, str]]]
    left: Callable[[], int]


@contextmanager
def rabbitmq(folder: Path) -> Iterator[Broker]:
    with rabbit() as server:
        for name in ("orders", "orders.dead"):
            asyncio.run(make_queue(server, name))
        given = {"servers": [f"127.0.0.1:{server.port}"], "username": USER, "password": {"file": "secret"}}

        def aside() -> list[tuple[bytes, str]]:
            return [
                (each.body, (each.header.properties.headers or {})["x-lockgate-reason"])
                for each in asyncio.run(read_all(server, "orders.dead"))
            ]

        def left() -> int:
            lines = server.control("list_queues", "name", "messages", "--quiet", "--no-table-headers").splitlines()
            return int(dict(line.split("\t") for line in lines)["orders"])

        yield Broker(
            {"adapter": "rabbitmq", **given, "queue": "orders", "dead_letter": {"routing_key": "orders.dead"}},
            PASSWORD,
            lambda content, key: asyncio.run(put(server, "orders", content, message_id=key)),
            aside,
            left,
        )


@contextmanager
def sqs(folder: Path) -> Iterator[Broker]:
    with amazon(folder) as server:
        queue, dead = server.queue("orders"), server.queue("orders-dead")
        client = server.client("sqs")
        account = {**server.account, "secret_key": {"file": "secret"}}

        def send(content: bytes, key: str) -> None:
            told = {"message-id": {"DataType": "String", "StringValue": key}}
            client.send_message(QueueUrl=queue, MessageBody=content.decode(), MessageAttributes=told)

        def left() -> int:
            names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
            told = client.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
            return sum(int(told[name]) for name in names)

        def aside() -> list[tuple[bytes, str]]:
            return [(each["Body"].encode(), attributes(each)["x-lockgate-reason"]) for each in server.read_all(dead)]

        yield Broker({"adapter": "sqs", **account, "queue": queue, "dead_letter": {"queue": dead}, "wait": "1s"}, "root", send, aside, left)


@contextmanager
def redis(folder: Path) -> Iterator[Broker]:
    with redis_server.running(requirepass="sesame") as server:

        def ask(*command: str) -> Any:
            return json.loads(server.ask("-a", "sesame", "--no-auth-warning", "--json", *command))

        def aside() -> list[tuple[bytes, str]]:
            found = [dict(zip(fields[::2], fields[1::2], strict=True)) for _, fields in ask("XRANGE", "orders-dead", "-", "+")]
            return [(each["body"].encode(), each["x-lockgate-reason"]) for each in found]

        def left() -> int:
            (told,) = ask("XINFO", "GROUPS", "orders")
            return int(told["pending"]) + int(told["lag"])

        place = {"server": str(server.address), "password": {"file": "secret"}}
        yield Broker(
            {"adapter": "redis-stream", **place, "stream": "orders", "dead_letter": "orders-dead", "begin": "all"},
            "sesame",
            lambda content, key: ask("XADD", "orders", "*", "message-id", key, "body", content.decode()),
            aside,
            left,
        )


@contextmanager
def nats(folder: Path) -> Iterator[Broker]:
    with nats_server("authorization { user: lockgate, password: right }") as server:

        def on_stream(what: Callable[[Any], Any]) -> Any:
            async def ask() -> Any:
                connected = await nats_client.connect(server.url, user="lockgate", password="right")
                try:
                    return await what(connected.jetstream())
                finally:
                    await connected.close()

            return asyncio.run(ask())

        async def streams(stream: Any) -> None:
            await stream.add_stream(name="ORDERS", subjects=["orders.>"])
            await stream.add_stream(name="BURIED", subjects=["buried.>"])

        async def buried(stream: Any) -> list[tuple[bytes, str]]:
            found = [await stream.get_msg("BURIED", each + 1) for each in range((await stream.stream_info("BURIED")).state.last_seq)]
            return [(each.data, each.headers["x-lockgate-reason"]) for each in found]

        async def waiting(stream: Any) -> int:
            told = await stream.consumer_info("ORDERS", "lockgate")
            return int(told.num_pending + told.num_ack_pending)

        on_stream(streams)
        place = {"servers": [server.url], "user": "lockgate", "password": {"file": "secret"}}
        yield Broker(
            {"adapter": "nats", **place, "stream": "ORDERS", "durable": "lockgate", "subjects": ["orders.made"], "bury": "buried.orders"},
            "right",
            lambda content, key: on_stream(lambda stream: stream.publish("orders.made", content, headers={"message-id": key})),
            lambda: list(on_stream(buried)),
            lambda: int(on_stream(waiting)),
        )


@contextmanager
def kafka(folder: Path) -> Iterator[Broker]:
    with kafka_broker() as broker:
        broker.create("orders", "orders-buried", partitions=1)

        def aside() -> list[tuple[bytes, str]]:
            return [(each.value(), dict(each.headers())["x-lockgate-reason"].decode()) for each in broker.all("orders-buried")]

        def left() -> int:
            """After the place of the group, as the broker has it."""
            client = KafkaClient({"bootstrap.servers": broker.address, "group.id": "lockgate", "log_level": 0})
            try:
                place = TopicPartition("orders", 0)
                (told,) = client.committed([place], 10)
                return int(client.get_watermark_offsets(place, 10)[1]) - max(0, told.offset)
            finally:
                client.close()

        place = {"adapter": "kafka", "brokers": broker.address, "topics": "orders", "group": "lockgate", "bury": "orders-buried"}
        yield Broker(
            {**place, "session": SESSION},
            "",
            lambda content, key: broker.put("orders", content, headers=[("message-id", key.encode())]),
            aside,
            left,
        )


KINDS = {"rabbitmq": rabbitmq, "sqs": sqs, "redis": redis, "nats": nats, "kafka": kafka}


@dataclass
class Standing:
    lockgate: Lockgate
    brokers: dict[str, Broker]
    target: Target


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """One that consumes of every broker."""
    with ExitStack() as stack:
        brokers = {name: stack.enter_context(kind(tmp_path_factory.mktemp(name))) for name, kind in KINDS.items()}
        target = Target()
        stack.callback(target.close)
        folder = tmp_path_factory.mktemp("yard")
        lockgate = consuming_all(lambda **changes: stack.enter_context(prepared(folder, **changes)), brokers, target)
        yield Standing(lockgate, brokers, target)


def consuming(prepare: Callable[..., Lockgate], broker: Broker, target: Target) -> Lockgate:
    """Of one broker."""
    return consuming_all(prepare, {"orders": broker}, target)


def consuming_all(prepare: Callable[..., Lockgate], brokers: dict[str, Broker], target: Target) -> Lockgate:
    """Started, with the brokers' messages for its only events; they go to `target`."""
    lockgate = prepare(events={"sources": _sources(brokers)})
    config = load(lockgate.yard.config)
    config["events"]["listen"] = None
    save(lockgate.yard.config, config)
    for name, broker in brokers.items():
        (lockgate.yard.folder / f"{name}.secret").write_text(broker.secret)
    _routed(lockgate, target)
    lockgate.start()
    return lockgate


def _sources(brokers: dict[str, Broker]) -> dict[str, Any]:
    """Each speaks for a subject of its own."""
    return {
        name: {
            "consume": _with_secret(broker.settings, f"{name}.secret"),
            "names": {"id": "{{ request.headers['message-id'] }}", "type": "order.made"},
            "speaks_for": {"subject": f"shop-{name}", "roles": ["employee"]},
        }
        for name, broker in brokers.items()
    }


def _with_secret(settings: dict[str, Any], file: str) -> dict[str, Any]:
    return {name: {"file": file} if value == {"file": "secret"} else value for name, value in settings.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_brokers_events_are_decided_once_and_delivered_and_what_is_none_lies_aside(kind: str, standing: Standing) -> None:
    """Of every broker, by one Lockgate that consumes of them all."""
    lockgate, broker, target = standing.lockgate, standing.brokers[kind], standing.target

    def came() -> list[tuple[Any, bytes]]:
        return [(fields, body) for _, fields, body in target.came if fields["x-lockgate-subject"] == f"shop-{kind}"]

    for content, key in ((GOOD, "m-1"), (BAD, "m-2"), (GOOD, "m-1"), (GOOD, "m-3")):
        broker.send(content, key)
    until(lambda: len(came()) >= 2, "both were delivered")
    until(lambda: broker.left() == 0, "all were acknowledged")
    assert broker.aside() == [(BAD, "event_invalid")]
    assert sorted(fields["ce-id"] for fields, _ in came()) == ["m-1", "m-3"]
    assert {body for _, body in came()} == {GOOD}
    for fields, _ in came():
        decided = lockgate.story(fields["x-lockgate-decision-id"])[0]
        assert (decided["request"]["door"], decided["subject"]["authenticated_by"]) == ("events", "broker")
        assert lockgate.outcome(decided["id"])["result"] == "routed"


def test_what_came_from_all_of_them_is_in_one_ledger_that_verifies(standing: Standing) -> None:
    """Nothing came to the target but of who speaks for a broker."""
    assert {fields["x-lockgate-subject"] for _, fields, _ in standing.target.came} <= {f"shop-{name}" for name in KINDS}
    assert standing.lockgate.verify().returncode == 0


def _routed(lockgate: Lockgate, target: Target) -> None:
    catalog = load(lockgate.yard.folder / "catalog.yaml")
    catalog["destinations"]["target"] = {"adapter": "http", "upstreams": [{"url": f"http://127.0.0.1:{target.port}"}]}
    catalog["routes"]["orders"] = {"destination": "target", "path": "/orders", "delivery": {"for": "1h", "backoff": "200ms"}}
    catalog["rules"][:0] = [{"name": "orders", "match": {"path": "/events/{source}"}, "intent": "look", "route": "orders"}]
    save(lockgate.yard.folder / "catalog.yaml", catalog)
    data = load(lockgate.yard.data)
    data["lockgate"]["config"]["access"]["routes"]["orders"] = {"employee": ["*"]}
    save(lockgate.yard.data, data)
