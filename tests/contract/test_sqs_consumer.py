"""SQS as an event source, over a server that speaks as it does. What its server keeps is gone when it is killed, so that is not tried."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from adapters.aws.config import SqsSource
from adapters.aws.texts import body, content, typed
from adapters.sqs_consumer import SqsConsumer, build
from router.errors import DestinationError
from router.system import SystemClock, SystemRandom
from tests.contract.aws_server import Amazon, amazon, attributes, needed
from tests.contract.consumer_promises import SOURCE_NAME, Aside, Promises, Yard, contents, nothing, one, opened, some
from tests.contract.sns_signer import TOPIC, signing

needed()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Amazon]:
    with amazon(tmp_path_factory.mktemp("amazon")) as made:
        yield made


def consumer(server: Amazon, queue: str, **settings: Any) -> SqsConsumer:
    dead = queue.replace(".fifo", "-dead.fifo") if queue.endswith(".fifo") else f"{queue}-dead"
    given = {**server.account, "queue": queue, "dead_letter": {"queue": dead}, "wait": "1s", "visibility": "4s", **settings}
    return build(SqsSource.model_validate(given), name=SOURCE_NAME, clock=SystemClock(), random=SystemRandom())


def a_yard(server: Amazon, end: str, **settings: Any) -> Yard:
    name = f"q-{uuid.uuid4()}"
    queue, dead = server.queue(f"{name}{end}"), server.queue(f"{name}-dead{end}")

    async def put(written: bytes, headers: Mapping[str, str], key: str) -> None:
        text, encoded = body(written)
        more = {"MessageGroupId": key, "MessageDeduplicationId": str(uuid.uuid4())} if end else {}
        told = typed({**headers, **encoded})
        await asyncio.to_thread(server.client("sqs").send_message, QueueUrl=queue, MessageBody=text, MessageAttributes=told, **more)

    async def buried() -> Sequence[Aside]:
        found = [(each["Body"], attributes(each)) for each in await asyncio.to_thread(server.read_all, dead)]
        return [(content(text, fields), fields) for text, fields in found]

    return Yard(lambda: consumer(server, queue, **settings), put, buried, ordered=bool(end))


class TestStandardQueue(Promises):
    @pytest.fixture
    async def yard(self, server: Amazon) -> Yard:
        return a_yard(server, "")

    async def test_a_message_without_content_is_one(self, yard: Yard) -> None:
        """There are none in SQS."""
        with pytest.raises(DestinationError):
            await yard.put(b"", {}, "k")


class TestFifoQueue(Promises):
    @pytest.fixture
    async def yard(self, server: Amazon) -> Yard:
        return a_yard(server, ".fifo")

    async def test_a_message_without_content_is_one(self, yard: Yard) -> None:
        """There are none in SQS."""
        with pytest.raises(DestinationError):
            await yard.put(b"", {}, "k")

    async def test_no_more_than_asked_for_are_taken(self, yard: Yard) -> None:
        """The service hands out no more of a group while some of it are under way."""
        async with opened(yard) as consumer:
            for number in range(7):
                await yard.put(b"%d" % number, {}, "k")
            found = list[bytes]()
            while len(found) < 7:
                taken = await consumer.take(3)
                assert 1 <= len(taken) <= 3
                found += contents(taken)
                await consumer.acknowledge(taken)
            assert found == [b"%d" % number for number in range(7)]


async def test_what_is_under_way_longer_than_its_time_stays_ours(server: Amazon) -> None:
    yard = a_yard(server, "", visibility="2s")
    async with opened(yard) as first, opened(yard) as second:
        await yard.put(b"slow", {}, "k")
        taken = await one(first)
        await nothing(second, 4.0)
        await first.acknowledge([taken])
        await nothing(second, 2.5)


async def test_a_consumer_that_died_loses_nothing(server: Amazon) -> None:
    yard = a_yard(server, "", visibility="2s")
    dying = yard.make()
    await dying.open()
    await yard.put(b"orphan", {}, "k")
    await one(dying)
    assert isinstance(dying, SqsConsumer)
    assert dying._extending is not None
    dying._extending.cancel()  # as a crash does
    async with opened(yard) as other:
        again = await one(other, acknowledge=True)
        assert (again.content, again.tries) == (b"orphan", 2)
    await dying.close()


async def test_groups_do_not_wait_for_each_other(server: Amazon) -> None:
    yard = a_yard(server, ".fifo")
    async with opened(yard) as reader:
        await yard.put(b"a1", {}, "a")
        await yard.put(b"a2", {}, "a")
        await yard.put(b"b1", {}, "b")
        first = await one(reader)
        assert (first.content, first.order) == (b"a1", b"a")
        await reader.give_back(first, 1.0)
        assert contents(await some(reader, 3)) == [b"b1", b"a1", b"a2"]


async def test_envelopes_of_named_topics_and_sources_are_taken_off(server: Amazon) -> None:
    name = f"q-{uuid.uuid4()}"
    queue = server.queue(name)
    server.queue(f"{name}-dead")
    topic, other = (server.subscribed(f"{name}-{each}", queue, raw=False) for each in "ab")
    server.bus(name, queue)
    made = Yard(lambda: consumer(server, queue, topics=[topic], unsigned=True, event_sources=["lockgate"]), None, None)  # type: ignore[arg-type]
    async with opened(made) as reader:
        server.client("sns").publish(TopicArn=topic, Message='{"n":1}', MessageAttributes=typed({"ce-type": "order.made"}))
        taken = await one(reader, acknowledge=True)
        assert (taken.content, taken.fields["ce-type"], taken.fields["sns-topic"]) == (b'{"n":1}', "order.made", topic)
        server.client("sns").publish(TopicArn=other, Message='{"n":2}')
        taken = await one(reader, acknowledge=True)
        assert json.loads(taken.content)["Message"] == '{"n":2}'  # of a topic that nobody named
        server.client("events").put_events(
            Entries=[{"EventBusName": name, "Source": "lockgate", "DetailType": "order.made", "Detail": '{"n":3}'}]
        )
        taken = await one(reader, acknowledge=True)
        assert json.loads(taken.content) == {"n": 3}
        assert (taken.fields["ce-type"], taken.fields["ce-source"], taken.fields["ce-specversion"]) == ("order.made", "lockgate", "1.0")
        assert taken.fields["ce-id"]


async def test_envelopes_that_sns_did_not_sign_are_put_aside_and_nothing_gets_in_around_them(server: Amazon, tmp_path: Path) -> None:
    """Whoever may write to the queue can write anything there. While the certificate cannot be had, a message waits."""
    queue = server.queue(f"q-{uuid.uuid4()}")
    server.queue(f"{queue.rpartition('/')[2]}-dead")
    with signing(tmp_path) as signer:
        settings = {"topics": [TOPIC], "certificates": signer.base, "ca": str(signer.ca)}
        made = Yard(lambda: consumer(server, queue, **settings), None, None)  # type: ignore[arg-type]

        async def sent(envelope: bytes, **attributes: str) -> Any:
            server.client("sqs").send_message(QueueUrl=queue, MessageBody=envelope.decode(), MessageAttributes=typed(attributes))
            return await one(reader, acknowledge=True)

        async with opened(made) as reader:
            taken = await sent(signer.envelope(MessageId="m-7"), **{"sns-topic": "forged"})
            assert (taken.content, taken.problem, taken.fields["sns-message-id"]) == (b'{"amount": 3}', "", "m-7")
            assert taken.fields["sns-topic"] == TOPIC
            assert (await sent(signer.envelope(TopicArn=f"{TOPIC}2"))).problem == "event_topic_unknown"
            assert (await sent(b'{"amount": 3}', **{"sns-topic": TOPIC})).problem == "event_invalid"
            assert (await sent(signer.envelope(Timestamp="2020-01-01T00:00:00.000Z"))).problem == "event_stale"
            signer.places["/next.pem"] = (503, b"")
            server.client("sqs").send_message(
                QueueUrl=queue, MessageBody=signer.envelope(SigningCertURL=f"{signer.base}/next.pem", MessageId="m-8").decode()
            )
            taking = asyncio.create_task(one(reader, acknowledge=True))
            while "/next.pem" not in signer.asked:  # noqa: ASYNC110  # somebody else's thread does it
                await asyncio.sleep(0.05)
            signer.places["/next.pem"] = signer.places["/key.pem"]
            assert (await taking).fields["sns-message-id"] == "m-8"


@pytest.mark.parametrize("queue", ["http://127.0.0.1/123456789012/missing"])
async def test_a_queue_that_is_missing_is_refused_by_name(server: Amazon, queue: str) -> None:
    made = consumer(server, queue)
    with pytest.raises(DestinationError) as raised:
        await made.open()
    assert raised.value.code == "upstream_refused"
    await made.close()


async def test_a_service_that_goes_away_is_told_to_who_waits(tmp_path: Any) -> None:
    with amazon(tmp_path) as server:
        queue = server.queue("q")
        made = consumer(server, queue)
        await made.open()
        taking = asyncio.create_task(made.take(1))
        await asyncio.sleep(0.3)
    with pytest.raises(DestinationError) as raised:
        await asyncio.wait_for(taking, 30)
    assert raised.value.code in ("upstream_reset", "connect_failed", "upstream_unavailable")
    await made.close()
