"""Decided requests go to SQS, SNS and EventBridge by a real Lockgate: at once, or when somebody else has said yes."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.contract.aws_server import Amazon, amazon, attributes, needed
from tests.e2e.running import Lockgate, prepared
from tests.e2e.test_reviews import approve, state_of
from tests.e2e.yard import load, save

needed()

Running = tuple[Lockgate, Amazon, dict[str, str]]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("aws")
    with amazon(folder) as server, prepared(folder) as lockgate:
        queues = {name: server.queue(name) for name in ("direct", "by-topic", "by-bus")}
        topic = server.subscribed("payments", queues["by-topic"], raw=True)
        server.bus("payments", queues["by-bus"])
        catalog = load(lockgate.yard.folder / "catalog.yaml")
        plain = {**server.account, "secret_key": {"file": "secret"}, "input": {"path": "{{ request.path }}"}}
        (lockgate.yard.folder / "secret").write_text("root")
        catalog["destinations"]["service"] = plain | {"adapter": "sqs", "queue": queues["direct"]}
        catalog["destinations"]["topic"] = plain | {"adapter": "sns", "topic": topic}
        catalog["destinations"]["bus"] = plain | {"adapter": "eventbridge", "bus": "payments", "source": "lockgate", "detail_type": "made"}
        catalog["routes"]["streamed"] = {"destination": "topic"}
        catalog["routes"]["lonely"]["destination"] = "bus"
        save(lockgate.yard.folder / "catalog.yaml", catalog)
        lockgate.start()
        yield lockgate, server, queues


def test_a_decided_request_arrives_in_the_queue_with_its_decision_and_trace(running: Running) -> None:
    lockgate, server, queues = running
    answer = lockgate.ask("ann", "GET", "/items/7")
    assert answer.status == 202, answer.body
    (got,) = server.read_all(queues["direct"])
    assert (json.loads(got["Body"]), attributes(got)["x-lockgate-decision-id"]) == ({"path": "/items/7"}, answer.decision)
    assert attributes(got)["traceparent"]
    assert lockgate.outcome(answer.decision)["result"] == "routed"


def test_a_held_request_arrives_once_somebody_else_has_approved_it(running: Running) -> None:
    lockgate, server, queues = running
    answer = lockgate.ask("ann", "POST", "/pay/1", {"amount": 5})
    assert answer.status == 202
    assert server.read_all(queues["direct"]) == []
    assert approve(lockgate, answer.decision).status == 200
    state_of(lockgate, answer.decision, "done")
    (got,) = server.read_all(queues["direct"])
    assert attributes(got)["x-lockgate-decision-id"] == answer.decision


def test_a_decided_request_arrives_by_a_topic(running: Running) -> None:
    lockgate, server, queues = running
    answer = lockgate.ask("ann", "POST", "/upload/1", {"a": 1})
    assert answer.status == 202, answer.body
    (got,) = server.read_all(queues["by-topic"])
    assert (json.loads(got["Body"]), attributes(got)["x-lockgate-decision-id"]) == ({"path": "/upload/1"}, answer.decision)


def test_a_decided_request_arrives_by_a_bus(running: Running) -> None:
    lockgate, server, queues = running
    answer = lockgate.ask("ann", "POST", "/lonely/1", {"a": 1})
    assert answer.status == 202, answer.body
    (got,) = server.read_all(queues["by-bus"])
    event = json.loads(got["Body"])
    assert (event["detail-type"], event["detail"]["path"]) == ("made", "/lonely/1")
    assert event["detail"]["lockgate"]["x-lockgate-decision-id"] == answer.decision
    assert event["detail"]["lockgate"]["traceparent"]
