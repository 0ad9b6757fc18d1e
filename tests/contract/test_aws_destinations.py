"""SQS, SNS and EventBridge as destinations, over a server that speaks as they do."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import orjson
import pytest

from adapters import eventbridge_destination, sns_destination, sqs_destination
from adapters.messaging.destination import MessageDestination
from router.errors import ConfigError, DestinationError
from router.system import SystemClock, SystemRandom
from tests.contract.aws_server import KEYS, Amazon, amazon, attributes, needed
from tests.contract.message_promises import Case, Promises, asked, id_of, whole

needed()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Amazon]:
    with amazon(tmp_path_factory.mktemp("amazon")) as made:
        yield made


@pytest.fixture
def name() -> str:
    return f"n-{uuid.uuid4()}"


async def opened(kind: Any, account: dict[str, str], **settings: Any) -> MessageDestination:
    made = kind.build(kind.Config.model_validate({**account, **settings}), name="orders", clock=SystemClock(), random=SystemRandom())
    await made.open()
    return made  # type: ignore[no-any-return]


async def refused(made: MessageDestination, body: bytes = b"{}", **more: Any) -> DestinationError:
    with pytest.raises(DestinationError) as raised:
        await made.send(asked(body, **more))
    return raised.value


def arrivals(server: Amazon, queue: str, key: Callable[[dict[str, Any]], Any], body: Callable[[dict[str, Any]], bytes]) -> Any:
    seen = list[dict[str, Any]]()

    async def arrived(message_id: str) -> Sequence[bytes]:
        seen.extend(await asyncio.to_thread(server.read_all, queue))
        return [body(each) for each in seen if key(each) == id_of(message_id)]

    return arrived


def by_attribute(message: dict[str, Any]) -> Any:
    return attributes(message).get("message-id")


def as_it_is(message: dict[str, Any]) -> bytes:
    return str(message["Body"]).encode()


class TestSqs(Promises):
    @pytest.fixture
    async def case(self, server: Amazon, name: str) -> AsyncIterator[Case]:
        queue = server.queue(name)
        made = await opened(sqs_destination, server.account, queue=queue)
        yield Case(made, arrivals(server, queue, by_attribute, as_it_is), once=False)
        await made.close()


class TestSqsFifo(Promises):
    @pytest.fixture
    async def case(self, server: Amazon, name: str) -> AsyncIterator[Case]:
        queue = server.queue(f"{name}.fifo")
        made = await opened(sqs_destination, server.account, queue=queue, group="{{ request.idempotency_key|default('g') }}")
        yield Case(made, arrivals(server, queue, by_attribute, as_it_is))
        await made.close()


class TestSns(Promises):
    @pytest.fixture
    async def case(self, server: Amazon, name: str) -> AsyncIterator[Case]:
        queue = server.queue(name)
        made = await opened(sns_destination, server.account, topic=server.subscribed(name, queue, raw=True))
        yield Case(made, arrivals(server, queue, by_attribute, as_it_is), once=False)
        await made.close()


class TestEventBridge(Promises):
    @pytest.fixture
    async def case(self, server: Amazon, name: str) -> AsyncIterator[Case]:
        queue = server.queue(name)
        server.bus(name, queue)
        made = await opened(eventbridge_destination, server.account, bus=name, source="lockgate", detail_type="{{ decision.intent }}")

        def detail(message: dict[str, Any]) -> dict[str, Any]:
            return dict(json.loads(message["Body"])["detail"])

        def plain(message: dict[str, Any]) -> bytes:
            return orjson.dumps({field: value for field, value in detail(message).items() if field != "lockgate"})

        yield Case(made, arrivals(server, queue, lambda each: detail(each)["lockgate"]["message-id"], plain), once=False)
        await made.close()


async def test_a_message_has_the_decision_the_trace_and_at_most_ten_attributes(server: Amazon, name: str) -> None:
    queue = server.queue(name)
    made = await opened(sqs_destination, server.account, queue=queue, attributes={"tenant": "{{ subject.tenant }}"})
    events = [(f"ce-x{place}".encode(), b"1") for place in range(8)]
    await made.send(asked(b'{"a":1}', [(b"x-lockgate-tenant", b"halden"), *events]))
    await made.close()
    (got,) = server.read_all(queue)
    told = attributes(got)
    assert len(told) == 10
    assert (told["tenant"], told["content-type"]) == ("halden", "application/json")
    assert told["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c")
    everything = json.loads(told["x-lockgate-fields"])
    assert everything["x-lockgate-decision-id"] == told["x-lockgate-decision-id"] == told["message-id"]
    assert {"ce-x0", "ce-x7", "x-lockgate-intent"} <= everything.keys()


async def test_what_is_no_text_goes_as_base64(server: Amazon, name: str) -> None:
    queue = server.queue(name)
    made = await opened(sqs_destination, server.account, queue=queue)
    for content in (bytes(range(256)), b"a\x00b", b"a\x0bb"):
        await made.send(asked(content, [(b"content-type", b"application/octet-stream")]))
        (got,) = server.read_all(queue)
        assert (base64.b64decode(got["Body"]), attributes(got)["content-transfer-encoding"]) == (content, "base64")
    assert (await refused(made, b"")).code == "input_unmapped"
    await made.close()


@pytest.mark.parametrize("kind", ["sqs", "sns", "eventbridge"])
async def test_what_is_too_large_is_refused_before_it_is_sent(server: Amazon, name: str, kind: str) -> None:
    queue = server.queue(name)
    if kind == "sqs":
        made = await opened(sqs_destination, server.account, queue=queue)
    elif kind == "sns":
        made = await opened(sns_destination, server.account, topic=server.subscribed(name, queue, raw=True))
    else:
        server.bus(name, queue)
        made = await opened(eventbridge_destination, server.account, bus=name, source="lockgate", detail_type="big")
    error = await refused(made, orjson.dumps({"a": "x" * (256 << 10)}))
    assert (error.code, error.status, error.sent, error.final) == ("body_too_large", 413, False, True)
    await made.send(asked(orjson.dumps({"a": "x" * (250 << 10)})))
    await made.close()
    assert len(server.read_all(queue)) == 1


async def test_a_fifo_queue_keeps_the_order_of_a_group(server: Amazon, name: str) -> None:
    queue = server.queue(f"{name}.fifo")
    made = await opened(sqs_destination, server.account, queue=queue, group="{{ body.account }}")
    for number in range(5):
        await made.send(asked(orjson.dumps({"account": "a", "n": number}), key=f"key {number}"))
    await made.close()
    got = server.read_all(queue)
    assert [json.loads(each["Body"])["n"] for each in got] == [0, 1, 2, 3, 4]
    assert {each["Attributes"]["MessageGroupId"] for each in got} == {"a"}


@pytest.mark.parametrize("settings", [{"group": "g"}, {"queue": "x.fifo"}])
async def test_a_group_belongs_to_fifo_queues_alone(server: Amazon, name: str, settings: dict[str, str]) -> None:
    made = await opened(sqs_destination, server.account, **{"queue": server.queue(name), **settings})
    assert (await refused(made)).code == "input_unmapped"
    await made.close()


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (sqs_destination, {"queue": "http://127.0.0.1/123456789012/missing"}),
        (sns_destination, {"topic": "arn:aws:sns:eu-central-1:123456789012:missing"}),
        (eventbridge_destination, {"bus": "missing", "source": "lockgate", "detail_type": "x"}),
    ],
)
async def test_what_is_not_there_is_refused(server: Amazon, kind: Any, settings: dict[str, str]) -> None:
    made = await opened(kind, server.account, **settings)
    error = await refused(made)
    assert (error.code, error.sent) == ("upstream_refused", False)
    await made.close()


async def test_an_event_needs_an_object_and_a_free_field(server: Amazon, name: str) -> None:
    queue = server.queue(name)
    server.bus(name, queue)
    made = await opened(eventbridge_destination, server.account, bus=name, source="lockgate", detail_type="x")
    assert [(await refused(made, body)).code for body in (b"[]", b"{", b'{"lockgate":1}')] == ["input_unmapped"] * 3
    await made.close()


async def test_keys_that_are_not_accepted_are_a_denial_and_never_told(tmp_path: Any, name: str) -> None:
    """The server checks signatures; ours are its own users' or nobody's."""
    with amazon(tmp_path) as server:
        queue = server.queue(name)
        topic = server.subscribed(name, queue, raw=True)
        iam = server.client("iam")
        iam.create_user(UserName="sender")
        allowed = {"Effect": "Allow", "Action": ["sqs:SendMessage", "sns:Publish"], "Resource": "*"}
        iam.put_user_policy(UserName="sender", PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}))
        pair = iam.create_access_key(UserName="sender")["AccessKey"]
        good = {**server.account, "access_key": pair["AccessKeyId"], "secret_key": pair["SecretAccessKey"]}
        from tests.contract.s3_server import S3

        S3(server.port).check_signatures(on=True)
        for kind, settings in ((sqs_destination, {"queue": queue}), (sns_destination, {"topic": topic})):
            made = await opened(kind, good, **settings)
            assert (await made.send(asked(b"{}"))).status == 202
            await made.close()
            for wrong in ({"secret_key": "another"}, {"access_key": "AKIANOBODY"}):
                made = await opened(kind, {**good, **wrong}, **settings)
                error = await refused(made)
                assert (error.code, error.sent) == ("upstream_denied", False)
                assert not any(each in str(error) for each in (*wrong.values(), good["secret_key"]))
                await made.close()
        bus = {"bus": "default", "source": "lockgate", "detail_type": "x"}
        made = await opened(eventbridge_destination, good, **bus)
        assert (await refused(made)).code == "upstream_denied"
        await made.close()


async def test_keys_in_files_are_read_for_each_request_and_missing_ones_are_found_when_it_opens(server: Amazon, tmp_path: Any) -> None:
    account = {**server.account, "secret_key": {"file": "secret"}}
    settings = sqs_destination.Config.model_validate({**account, "queue": server.queue("from-file")})
    made = sqs_destination.build(settings, name="q", clock=SystemClock(), random=SystemRandom(), root=tmp_path)
    with pytest.raises(ConfigError):
        await made.open()
    (tmp_path / "secret").write_text("root\n")
    await made.open()
    assert (await made.send(asked(b"{}"))).status == 202
    (tmp_path / "secret").unlink()
    assert (await refused(made)).code == "upstream_denied"
    await made.close()


async def test_a_service_that_goes_away_and_comes_back(tmp_path: Any) -> None:
    with amazon(tmp_path) as server:
        queue = server.queue("q")
        made = await opened(sqs_destination, server.account, queue=queue, retries={"attempts": 1})
        assert (await whole(made, asked(b"{}")))[0] == 202
    assert (await refused(made)).code in ("connect_failed", "upstream_reset")
    assert (await refused(made)).code == "connect_failed"
    with pytest.raises(DestinationError):
        await made.ping()
    await made.close()


def test_unencrypted_to_another_machine_needs_a_word() -> None:
    with pytest.raises(ValueError, match="unencrypted"):
        sqs_destination.Config.model_validate({**KEYS, "endpoint": "http://sqs.example", "queue": "q"})
