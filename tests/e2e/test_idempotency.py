"""Requests with an Idempotency-Key through the real gateway to a real service, on one node with two workers and on two nodes with Redis."""

from __future__ import annotations

import http.client
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import redis_server
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, prepared
from tests.e2e.wire import Answer
from tests.e2e.yard import load, save
from tests.redis_server import RedisServer

KEPT = {"keep": "1h", "answer": "1KiB"}


def keeping(node: Lockgate, **changed: Any) -> None:
    """Payments are kept, all of them; echoes go by the same route and are not asked for a key."""
    file = node.yard.folder / "catalog.yaml"
    catalog = load(file)
    catalog["routes"]["plain"]["idempotency"] = {**KEPT, **changed}
    save(file, catalog)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Callable[..., list[Lockgate]]]:
    with ExitStack() as stack:

        def started(count: int, *arguments: str, catalog: dict[str, Any] | None = None, **settings: Any) -> list[Lockgate]:
            made = []
            for number in range(count):
                (tmp_path / str(number)).mkdir()
                node = stack.enter_context(prepared(tmp_path / str(number), *arguments, **settings))
                keeping(node, **(catalog or {}))
                node.start()
                made.append(node)
            return made

        yield started


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server.running() as server:
        yield server


def pay(node: Lockgate, key: str | None, path: str = "/echo/pay", amount: int = 5, who: str = "ann") -> Answer:
    fields = {} if key is None else {"idempotency-key": key}
    return node.ask(who, "POST", path, {"amount": amount}, **fields)


def repeated(node: Lockgate, key: str, path: str = "/echo/pay") -> Answer:
    """The caller has its answer a moment before it is kept."""

    def ended() -> Answer | None:
        answer = pay(node, key, path)
        return None if answer.status == 409 and answer.code == "idempotency_under_way" else answer

    found = until(ended, "the first had ended")
    assert isinstance(found, Answer)
    return found


def reason(node: Lockgate, answer: Answer) -> tuple[str, int, str]:
    outcome = node.outcome(answer.fields["x-lockgate-decision-id"])
    return outcome["result"], outcome["status"], outcome["reason"]


def test_a_repeated_request_is_dispatched_once(nodes: Callable[..., list[Lockgate]]) -> None:
    """Whichever worker it reaches: the same answer, marked, under a decision of its own that says what it was. Another caller's same key,
    another body, no key at all are told apart."""
    (node,) = nodes(1, "--workers", "2")
    first = pay(node, "k1")
    assert first.status == 200
    again = [repeated(node, "k1") for _ in range(8)]
    assert "idempotent-replayed" not in first.fields
    assert {(each.status, each.body, each.fields["idempotent-replayed"]) for each in again} == {(200, first.body, "true")}
    assert len({each.fields["x-lockgate-decision-id"] for each in [first, *again]}) == 9
    assert len(node.arrived("/echo/pay")) == 1
    assert reason(node, first)[2] == ""
    assert {reason(node, each) for each in again} == {("routed", 200, "idempotency_replayed")}
    other = pay(node, "k1", amount=6)
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    assert reason(node, other) == ("denied", 422, "idempotency_key_reused")
    assert pay(node, "k1", path="/echo/else").code == "idempotency_key_reused"
    assert pay(node, "k1", who="bob").status == 200
    assert [pay(node, None).status for _ in range(2)] == [200, 200]
    assert len(node.arrived("/echo/pay")) == 4
    assert node.verify().returncode == 0


def test_while_the_first_is_under_way_others_are_refused(nodes: Callable[..., list[Lockgate]]) -> None:
    """409, and the answer once there is one."""
    (node,) = nodes(1, "--workers", "2")
    with ThreadPoolExecutor(1) as caller:
        first = caller.submit(pay, node, "k1", "/hold/x")
        until(lambda: node.arrived("/hold/x"), "the first was at the service")
        try:
            early = pay(node, "k1", "/hold/x")
        finally:
            node.release()
        assert (early.status, early.code) == (409, "idempotency_under_way")
        assert first.result().status == 200
    assert repeated(node, "k1", "/hold/x").body == first.result().body
    assert len(node.arrived("/hold/x")) == 1


def test_a_route_may_insist_on_a_key(nodes: Callable[..., list[Lockgate]]) -> None:
    """400, recorded, and nothing goes out."""
    (node,) = nodes(1, catalog={"required": True})
    refused = pay(node, None)
    assert (refused.status, refused.code) == (400, "idempotency_key_missing")
    assert reason(node, refused) == ("denied", 400, "idempotency_key_missing")
    assert node.arrived("/echo/pay") == []
    assert pay(node, "k1").status == 200


def test_what_may_have_happened_is_not_done_again(nodes: Callable[..., list[Lockgate]]) -> None:
    """A service that broke off, and an answer that is too long to be kept: who repeats is refused, and the service is spared."""
    (node,) = nodes(1, catalog={"answer": "10B"})
    with pytest.raises(http.client.IncompleteRead):
        pay(node, "k1", "/vanish/x")
    assert repeated(node, "k1", "/vanish/x").code == "idempotency_unanswered"
    assert pay(node, "k2").status == 200
    assert (repeated(node, "k2").status, repeated(node, "k2").code) == (409, "idempotency_unanswered")
    assert len(node.arrived("/echo/pay")) == 1


def test_two_nodes_remember_together_and_deny_when_they_cannot(nodes: Callable[..., list[Lockgate]], redis: RedisServer) -> None:
    """Of twenty at once over two nodes one is dispatched. When Redis forgets, the next is the first; when it is gone, nobody is."""
    shared = {"adapter": "redis", "server": str(redis.address), "key": "secret", "timeout": "100ms"}
    made = nodes(2, shared_state=shared)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: pay(made[number % 2], "k1"), range(20)))
    found = Counter((each.status, each.code if each.status != 200 else "") for each in answers)
    assert set(found) <= {(200, ""), (409, "idempotency_under_way")}
    assert sum(len(node.arrived("/echo/pay")) for node in made) == 1
    assert repeated(made[0], "k1").body == repeated(made[1], "k1").body
    redis.ask("FLUSHALL")
    assert "idempotent-replayed" not in pay(made[1], "k1").fields
    assert sum(len(node.arrived("/echo/pay")) for node in made) == 2
    redis.signal(signal.SIGKILL)
    refused = until(lambda: (answer := pay(made[0], "k2")).status == 503 and answer, "the loss was noticed")
    assert refused.code == "idempotency_unavailable"
    assert reason(made[0], refused) == ("denied", 503, "idempotency_unavailable")
    assert pay(made[0], None).status == 200
