"""A decided request is a call of a gRPC service; a held one when somebody else has said yes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.payments_service import SERVICE, descriptors
from tests.e2e.kinds import behind
from tests.e2e.processes import Process
from tests.e2e.running import Lockgate, cli, free_ports
from tests.e2e.test_reviews import approve, state_of
from tests.e2e.yard import load, save

Running = tuple[Lockgate, Path]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("grpc")
    (port,), arrivals = free_ports(1), folder / "arrivals"
    published = descriptors(folder / "published.pb")
    command = [sys.executable, "-m", "tests.contract.payments_service", str(port), str(published), str(arrivals)]
    settings = {
        "adapter": "grpc",
        "target": f"127.0.0.1:{port}",
        "insecure": True,
        "method": f"{SERVICE}/Cancel",
        "descriptors": "payments.pb",
        "input": {"paymentId": "{{ body.amount | default(4711) }}", "asked_by": "{{ subject.id }}"},
    }
    with behind(folder, Process(command, folder / "payments.log"), port, settings, {"payments.pb": published.read_bytes()}) as lockgate:
        yield lockgate, arrivals


def of(arrivals: Path, decision: str) -> list[Any]:
    lines = arrivals.read_text().splitlines() if arrivals.exists() else []
    return [each for each in map(json.loads, lines) if each["metadata"]["x-lockgate-decision-id"] == decision]


def test_a_decided_request_is_a_call_and_its_response_the_answer(running: Running) -> None:
    lockgate, arrivals = running
    answer = lockgate.ask("ann", "GET", "/items/7")
    assert (answer.status, answer.json["paymentId"]) == (200, "4711")
    (arrived,) = of(arrivals, answer.decision)
    assert arrived["request"] == {"paymentId": "4711", "askedBy": "ann"}
    assert arrived["metadata"]["traceparent"]
    assert lockgate.outcome(answer.decision)["result"] == "routed"


def test_a_held_request_is_a_call_once_somebody_else_has_approved_it(running: Running) -> None:
    lockgate, arrivals = running
    answer = lockgate.ask("ann", "POST", "/pay/1", {"amount": 5})
    assert (answer.status, of(arrivals, answer.decision)) == (202, [])
    assert approve(lockgate, answer.decision).status == 200
    state_of(lockgate, answer.decision, "done")
    (arrived,) = of(arrivals, answer.decision)
    assert arrived["request"]["paymentId"] == "5"


def test_a_mapping_that_does_not_fit_the_descriptors_is_found_by_check(running: Running) -> None:
    folder = running[0].yard.folder
    catalog = load(folder / "catalog.yaml")
    wrong = json.loads(json.dumps(catalog))
    wrong["destinations"]["service"]["input"]["payment"] = 1
    save(folder / "wrong.yaml", wrong)
    save(folder / "other.yaml", load(folder / "lockgate.yaml") | {"catalog": "wrong.yaml"})
    found = cli("check", "--config", str(folder / "other.yaml"))
    assert found.returncode == 1, found.stdout
    assert "The input mapping has 'payment', which is no field of halden.payments.v1.CancelRequest." in found.stderr + found.stdout
    assert "wrong.yaml:" in found.stderr + found.stdout
