"""Requests with an Idempotency-Key through the real gateway to a real service, on one node with two workers and on two nodes with Redis."""

from __future__ import annotations

import http.client
import signal
from collections import Counter
from collections.abc import Iterator
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
APART: dict[str, dict[str, Any]] = {"insistent": {"required": True}, "brief": {"answer": "10B"}}


def keeping(folder: Path) -> None:
    """Payments are kept, all of them; echoes go by the same route and are not asked for a key. Two routes of one path each differ."""
    file = folder / "catalog.yaml"
    catalog = load(file)
    catalog["routes"]["plain"]["idempotency"] = KEPT
    for name, changed in APART.items():
        catalog["routes"][name] = {**catalog["routes"]["plain"], "idempotency": {**KEPT, **changed}}
    catalog["rules"][:0] = [
        {"name": "insistent", "match": {"path": "/echo/insistent"}, "no_intent": True, "route": "insistent"},
        {"name": "brief", "match": {"path": "/echo/brief"}, "no_intent": True, "route": "brief"},
    ]
    save(file, catalog)
    data = load(folder / "policies/data.yaml")
    data["lockgate"]["config"]["access"]["routes"] |= {name: {"employee": ["*"]} for name in APART}
    save(folder / "policies/data.yaml", data)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    with prepared(tmp_path_factory.mktemp("node"), "--workers", "2") as node:
        keeping(node.yard.folder)
        node.start()
        yield node


@pytest.fixture
def node(standing: Lockgate) -> Lockgate:
    """One for all that ask for it; its service remembers nothing of the test before, and keys are each test's own."""
    standing.forget()
    return standing


@pytest.fixture
def pair(tmp_path: Path, redis: RedisServer) -> Iterator[list[Lockgate]]:
    """Two nodes that remember in one Redis."""
    shared = {"adapter": "redis", "server": str(redis.address), "key": "secret", "timeout": "100ms"}
    with ExitStack() as stack:
        made = []
        for number in range(2):
            (tmp_path / str(number)).mkdir()
            node = stack.enter_context(prepared(tmp_path / str(number), shared_state=shared))
            keeping(node.yard.folder)
            node.start()
            made.append(node)
        yield made


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


def test_a_repeated_request_is_dispatched_once(node: Lockgate) -> None:
    """Whichever worker it reaches: the same answer, marked, under a decision of its own that says what it was. Another caller's same key,
    another body, no key at all are told apart."""
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


def test_while_the_first_is_under_way_others_are_refused(node: Lockgate) -> None:
    """409, and the answer once there is one."""
    with ThreadPoolExecutor(1) as caller:
        first = caller.submit(pay, node, "way", "/hold/x")
        until(lambda: node.arrived("/hold/x"), "the first was at the service")
        try:
            early = pay(node, "way", "/hold/x")
        finally:
            node.release()
        assert (early.status, early.code) == (409, "idempotency_under_way")
        assert first.result().status == 200
    assert repeated(node, "way", "/hold/x").body == first.result().body
    assert len(node.arrived("/hold/x")) == 1


def test_a_route_may_insist_on_a_key(node: Lockgate) -> None:
    """400, recorded, and nothing goes out."""
    refused = pay(node, None, "/echo/insistent")
    assert (refused.status, refused.code) == (400, "idempotency_key_missing")
    assert reason(node, refused) == ("denied", 400, "idempotency_key_missing")
    assert node.arrivals() == []
    assert pay(node, "insisted", "/echo/insistent").status == 200


def test_what_may_have_happened_is_not_done_again(node: Lockgate) -> None:
    """A service that broke off, and an answer that is too long to be kept: who repeats is refused, and the service is spared."""
    with pytest.raises(http.client.IncompleteRead):
        pay(node, "broken", "/vanish/x")
    assert repeated(node, "broken", "/vanish/x").code == "idempotency_unanswered"
    assert pay(node, "brief", "/echo/brief").status == 200
    again = [repeated(node, "brief", "/echo/brief") for _ in range(2)]
    assert {(each.status, each.code) for each in again} == {(409, "idempotency_unanswered")}
    assert len(node.arrived("/echo/brief")) == 1


def test_two_nodes_remember_together_and_deny_when_they_cannot(pair: list[Lockgate], redis: RedisServer) -> None:
    """Of twenty at once over two nodes one is dispatched. When Redis forgets, the next is the first; when it is gone, nobody is."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: pay(pair[number % 2], "k1"), range(20)))
    found = Counter((each.status, each.code if each.status != 200 else "") for each in answers)
    assert set(found) <= {(200, ""), (409, "idempotency_under_way")}
    assert sum(len(node.arrived("/echo/pay")) for node in pair) == 1
    assert repeated(pair[0], "k1").body == repeated(pair[1], "k1").body
    redis.ask("FLUSHALL")
    assert "idempotent-replayed" not in pay(pair[1], "k1").fields
    assert sum(len(node.arrived("/echo/pay")) for node in pair) == 2
    redis.signal(signal.SIGKILL)
    refused = until(lambda: (answer := pay(pair[0], "k2")).status == 503 and answer, "the loss was noticed")
    assert refused.code == "idempotency_unavailable"
    assert reason(pair[0], refused) == ("denied", 503, "idempotency_unavailable")
    assert pay(pair[0], None).status == 200


def test_a_payment_is_made_once_while_nodes_exchange_their_key(pair: list[Lockgate]) -> None:
    """One after the other, by reloads: first the new key beside the former, then without it. In each state each node is asked for what
    the other has done, and what was done in the state before is done no more."""
    old, both, new = {"key": "secret"}, {"key": "another", "previous_key": "secret"}, {"key": "another"}
    done: list[tuple[str, bytes]] = []

    def configured(node: Lockgate, keys: dict[str, str]) -> None:
        config = load(node.yard.config)
        rest = {name: value for name, value in config["shared_state"].items() if not name.endswith("key")}
        save(node.yard.config, {**config, "shared_state": {**rest, **keys}})
        assert node.control("POST", "/v1/config/reload").status == 200

    for number, (node, keys) in enumerate([(0, old), (0, both), (1, both), (0, new), (1, new)]):
        configured(pair[node], keys)
        for first, second in ((0, 1), (1, 0)):
            made = pay(pair[first], f"k{number}{first}")
            assert made.status == 200, made.body
            done.append((f"k{number}{first}", made.body))
            assert repeated(pair[second], f"k{number}{first}").body == made.body
        for key, body in done[-4:]:
            for each in pair:
                again = repeated(each, key)
                assert (again.status, again.body, again.fields["idempotent-replayed"]) == (200, body, "true")
    assert sum(len(each.arrived("/echo/pay")) for each in pair) == len(done)
