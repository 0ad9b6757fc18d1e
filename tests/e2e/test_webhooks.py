"""A decided request goes to a webhook's endpoint: signed, with its decision's id; a held one when somebody else has said yes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.webhook_receiver import OTHER, SECRET
from tests.e2e.processes import Process, until
from tests.e2e.running import Lockgate, cli, free_ports, listens, prepared
from tests.e2e.test_reviews import approve, state_of
from tests.e2e.wire import ask
from tests.e2e.yard import load, save

Running = tuple[Lockgate, int]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("webhooks")
    (port,) = free_ports(1)
    receiver = Process([sys.executable, "-m", "tests.contract.webhook_receiver", str(port)], folder / "receiver.log")
    with prepared(folder) as lockgate:
        catalog = load(lockgate.yard.folder / "catalog.yaml")
        plain = {"adapter": "webhook", "insecure": True, "allow_networks": ["127.0.0.0/8"], "secrets": [{"file": "secret"}, OTHER]}
        catalog["destinations"]["service"] = plain | {"url": f"http://127.0.0.1:{port}/hook", "input": {"item": "{{ request.path }}"}}
        catalog["destinations"]["inside"] = plain | {"url": f"http://localhost:{port}/hook", "allow_networks": []}
        catalog["destinations"]["gone"] = plain | {"url": f"http://127.0.0.1:{port}/status/410"}
        catalog["routes"]["streamed"] = {"destination": "inside"}
        catalog["routes"]["lonely"]["destination"] = "gone"
        (lockgate.yard.folder / "secret").write_text(SECRET)
        save(lockgate.yard.folder / "catalog.yaml", catalog)
        try:
            receiver.start()
            until(lambda: listens(port), "the receiver listened")
            lockgate.start()
            yield lockgate, port
        finally:
            receiver.kill()


def arrivals(port: int) -> list[Any]:
    return list(ask(port, "GET", "/_arrivals").json)


def of(port: int, decision: str) -> list[Any]:
    return [each for each in arrivals(port) if each["fields"].get("x-lockgate-decision-id") == decision]


def test_a_decided_request_arrives_signed_and_mapped(running: Running) -> None:
    lockgate, port = running
    answer = lockgate.ask("ann", "GET", "/items/7")
    assert answer.status == 202, answer.body
    (arrived,) = of(port, answer.decision)
    assert (arrived["body"], arrived["fields"]["content-type"]) == ('{"item":"/items/7"}', "application/json")
    assert arrived["fields"]["webhook-id"] == answer.decision
    assert arrived["fields"]["traceparent"]
    assert lockgate.outcome(answer.decision)["result"] == "routed"


def test_a_held_request_arrives_once_somebody_else_has_approved_it(running: Running) -> None:
    lockgate, port = running
    answer = lockgate.ask("ann", "POST", "/pay/1", {"amount": 5})
    assert answer.status == 202
    assert of(port, answer.decision) == []
    assert approve(lockgate, answer.decision).status == 200
    state_of(lockgate, answer.decision, "done")
    assert len(of(port, answer.decision)) == 1


def test_what_leads_inside_is_refused_by_name(running: Running) -> None:
    lockgate, port = running
    answer = lockgate.ask("ann", "POST", "/upload/1", {"a": 1})
    assert (answer.status, answer.code) == (502, "endpoint_address_refused")
    assert of(port, answer.decision) == []
    assert lockgate.outcome(answer.decision)["result"] == "failed"


def test_an_endpoint_that_is_gone_is_tried_again_once_a_person_says_so(running: Running) -> None:
    lockgate, port = running
    first, second = (lockgate.ask("ann", "POST", "/lonely/1", {"a": 1}) for _ in range(2))
    assert [(each.status, each.code) for each in (first, second)] == [(502, "endpoint_gone")] * 2
    assert [len(of(port, each.decision)) for each in (first, second)] == [1, 0]
    enabled = cli("endpoints", "enable", "gone", "--config", str(lockgate.yard.config))
    assert enabled.returncode == 0, enabled.stderr
    third = lockgate.ask("ann", "POST", "/lonely/1", {"a": 1})
    assert len(of(port, third.decision)) == 1
