"""Decided requests go to a real Redis stream by a real Lockgate: at once, or when somebody else has said yes."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest

from tests import redis_server
from tests.e2e.running import Lockgate, prepared
from tests.e2e.test_reviews import approve, state_of
from tests.e2e.yard import load, save
from tests.needs import needs
from tests.redis_server import RedisServer

needs("hiredis", "pip install 'lockgate[redis]'")

Running = tuple[Lockgate, RedisServer]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with redis_server.running(requirepass="sesame") as server, prepared(tmp_path_factory.mktemp("redis")) as lockgate:
        catalog = load(lockgate.yard.folder / "catalog.yaml")
        catalog["destinations"]["service"] = {
            "adapter": "redis-stream",
            "server": str(server.address),
            "password": {"file": "password"},
            "stream": "payments",
            "input": {"path": "{{ request.path }}"},
        }
        (lockgate.yard.folder / "password").write_text("sesame")
        save(lockgate.yard.folder / "catalog.yaml", catalog)
        lockgate.start()
        yield lockgate, server


def arrived(server: RedisServer, decision: str) -> list[dict[str, str]]:
    lines = server.ask("-a", "sesame", "--no-auth-warning", "--json", "XRANGE", "payments", "-", "+")
    found = [dict(zip(fields[::2], fields[1::2], strict=True)) for _, fields in orjson.loads(lines)]
    return [each for each in found if each["x-lockgate-decision-id"] == decision]


def test_a_decided_request_arrives_with_its_decision_and_trace(running: Running) -> None:
    lockgate, server = running
    answer = lockgate.ask("ann", "GET", "/items/7")
    assert answer.status == 202, answer.body
    (entry,) = arrived(server, answer.decision)
    assert (orjson.loads(entry["body"]), entry["id"]) == ({"path": "/items/7"}, answer.decision)
    assert entry["traceparent"]
    assert lockgate.outcome(answer.decision)["result"] == "routed"


def test_a_held_request_arrives_once_somebody_else_has_approved_it(running: Running) -> None:
    lockgate, server = running
    answer = lockgate.ask("ann", "POST", "/pay/1", {"amount": 5})
    assert answer.status == 202
    assert arrived(server, answer.decision) == []
    assert approve(lockgate, answer.decision).status == 200
    state_of(lockgate, answer.decision, "done")
    assert len(arrived(server, answer.decision)) == 1
