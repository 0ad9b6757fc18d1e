"""Decided requests go to a real RabbitMQ by a real Lockgate: at once, or when somebody else has said yes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.needs import needs

needs("aiormq", "pip install 'lockgate[rabbitmq]'")

import orjson

from tests.contract.rabbit_by_hand import make_queue, read_all
from tests.e2e.running import Lockgate, prepared
from tests.e2e.test_reviews import approve, state_of
from tests.e2e.yard import load, save
from tests.rabbitmq_server import PASSWORD, USER, RabbitServer
from tests.rabbitmq_server import running as rabbit

Running = tuple[Lockgate, RabbitServer]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with rabbit() as server, prepared(tmp_path_factory.mktemp("rabbitmq")) as lockgate:
        asyncio.run(make_queue(server, "payments", "quorum"))
        catalog = load(lockgate.yard.folder / "catalog.yaml")
        plain = {"adapter": "rabbitmq", "servers": [f"127.0.0.1:{server.port}"], "username": USER, "password": {"file": "password"}}
        catalog["destinations"]["service"] = plain | {"routing_key": "payments", "input": {"path": "{{ request.path }}"}}
        catalog["destinations"]["nowhere"] = plain | {"routing_key": "missing"}
        catalog["routes"]["lonely"]["destination"] = "nowhere"
        (lockgate.yard.folder / "password").write_text(PASSWORD)
        save(lockgate.yard.folder / "catalog.yaml", catalog)
        lockgate.start()
        yield lockgate, server


def arrived(server: RabbitServer) -> list[tuple[Any, dict[str, Any], str | None]]:
    found = asyncio.run(read_all(server, "payments"))
    return [(orjson.loads(each.body), each.header.properties.headers or {}, each.header.properties.correlation_id) for each in found]


def test_a_decided_request_arrives_with_its_decision_and_trace(running: Running) -> None:
    lockgate, server = running
    answer = lockgate.ask("ann", "GET", "/items/7")
    assert answer.status == 202, answer.body
    ((body, headers, decision),) = arrived(server)
    assert (body, decision) == ({"path": "/items/7"}, answer.decision)
    assert headers["traceparent"]
    assert headers["x-lockgate-decision-id"] == answer.decision
    assert lockgate.outcome(answer.decision)["result"] == "routed"


def test_a_held_request_arrives_once_somebody_else_has_approved_it(running: Running) -> None:
    lockgate, server = running
    answer = lockgate.ask("ann", "POST", "/pay/1", {"amount": 5})
    assert answer.status == 202
    assert approve(lockgate, answer.decision).status == 200
    state_of(lockgate, answer.decision, "done")
    assert [decision for _, _, decision in arrived(server)] == [answer.decision]


def test_what_no_queue_gets_has_failed_by_name(running: Running) -> None:
    lockgate, _ = running
    answer = lockgate.ask("ann", "POST", "/lonely/1", {"a": 1})
    assert (answer.status, answer.code) == (502, "upstream_refused")
    assert lockgate.outcome(answer.decision)["result"] == "failed"
