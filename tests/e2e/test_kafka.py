"""Decided requests go to a real broker of Kafka's protocol by a real Lockgate: at once, or when somebody else has said yes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.kafka_broker import HOW, KafkaBroker, kafka_broker
from tests.needs import needs

needs("confluent_kafka", HOW)

import orjson

from tests.e2e.running import Lockgate, prepared
from tests.e2e.test_reviews import approve, state_of
from tests.e2e.yard import load, save

Running = tuple[Lockgate, KafkaBroker]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with kafka_broker() as broker, prepared(tmp_path_factory.mktemp("kafka")) as lockgate:
        broker.create("payments")
        catalog = load(lockgate.yard.folder / "catalog.yaml")
        plain = {"adapter": "kafka", "brokers": broker.address}
        catalog["destinations"]["service"] = plain | {"topic": "payments", "input": {"path": "{{ request.path }}"}}
        catalog["destinations"]["nowhere"] = plain | {"topic": "missing"}
        catalog["routes"]["lonely"]["destination"] = "nowhere"
        save(lockgate.yard.folder / "catalog.yaml", catalog)
        lockgate.start()
        yield lockgate, broker


def arrived(broker: KafkaBroker) -> dict[str, tuple[Any, dict[str, str]]]:
    """By decision."""
    found = [(orjson.loads(each.value()), {name: value.decode() for name, value in each.headers()}) for each in broker.all("payments")]
    return {headers["x-lockgate-decision-id"]: (body, headers) for body, headers in found}


def test_a_decided_request_arrives_with_its_decision_and_trace(running: Running) -> None:
    lockgate, broker = running
    answer = lockgate.ask("ann", "GET", "/items/7")
    assert answer.status == 202, answer.body
    body, headers = arrived(broker)[answer.decision]
    assert body == {"path": "/items/7"}
    assert headers["x-lockgate-message-id"] == answer.decision
    assert headers["traceparent"]
    assert lockgate.outcome(answer.decision)["result"] == "routed"


def test_a_held_request_arrives_once_somebody_else_has_approved_it(running: Running) -> None:
    lockgate, broker = running
    answer = lockgate.ask("ann", "POST", "/pay/1", {"amount": 5})
    assert answer.status == 202
    assert answer.decision not in arrived(broker)
    assert approve(lockgate, answer.decision).status == 200
    state_of(lockgate, answer.decision, "done")
    assert answer.decision in arrived(broker)


def test_what_has_no_topic_has_failed_by_name(running: Running) -> None:
    lockgate, _ = running
    answer = lockgate.ask("ann", "POST", "/lonely/1", {"a": 1})
    assert (answer.status, answer.code) == (502, "upstream_refused")
    assert lockgate.outcome(answer.decision)["result"] == "failed"
