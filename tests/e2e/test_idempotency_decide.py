"""Repeated calls of the decide API, over real processes: two workers of a node, and two nodes with Redis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import redis_server
from tests.e2e.running import Lockgate, prepared
from tests.e2e.wire import Answer, ask
from tests.e2e.yard import load, save
from tests.redis_server import RedisServer

PAY = {"method": "POST", "path": "/echo/1", "body": {"amount": 5}}
RECORDS = ("lockgate.decision.v1", "lockgate.outcome.v1")


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Callable[..., list[Lockgate]]]:
    with ExitStack() as stack:

        def started(count: int, *arguments: str, settings: dict[str, Any] | None = None, **more: Any) -> list[Lockgate]:
            made = []
            for number in range(count):
                (tmp_path / str(number)).mkdir()
                node = stack.enter_context(prepared(tmp_path / str(number), *arguments, **more))
                file = node.yard.config
                written = load(file)
                written["decide"]["idempotency"] = {"keep": "1h", **(settings or {})}
                save(file, written)
                node.start()
                made.append(node)
            return made

        yield started


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server.running() as server:
        yield server


def decide(node: Lockgate, key: str | None, wanted: Any = PAY, who: str = "checkout") -> Answer:
    fields = {} if key is None else {"idempotency-key": key}
    return ask(node.ports["decide"], "POST", "/v1/decide", node.keys[who], wanted, **fields)


def test_a_repeated_call_gets_the_first_ones_decision(nodes: Callable[..., list[Lockgate]]) -> None:
    """Whichever worker it reaches, marked; each repetition has records that say so. Another question is a 422, no key a 400."""
    (node,) = nodes(1, "--workers", "2", settings={"required": True})
    first = decide(node, "k1")
    assert (first.status, first.json["outcome"], "idempotent-replayed" in first.fields) == (200, None, False)
    again = [decide(node, "k1") for _ in range(6)]
    assert {(each.status, each.body, each.fields["idempotent-replayed"]) for each in again} == {(200, first.body, "true")}
    written = [leaf for leaf in node.leaves() if leaf["schema"] in RECORDS]
    outcomes = {leaf["id"]: leaf["outcome"]["reason"] for leaf in written if leaf["schema"] == "lockgate.outcome.v1"}
    assert len(written) == 13
    assert first.json["id"] not in outcomes
    assert list(outcomes.values()) == ["idempotency_replayed"] * 6
    other = decide(node, "k1", PAY | {"body": {"amount": 6}})
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    missing, empty = decide(node, None), decide(node, "x" * 256)
    assert [(each.status, each.code) for each in (missing, empty)] == [(400, "idempotency_key_missing"), (400, "idempotency_key_invalid")]
    assert len([leaf for leaf in node.leaves() if leaf["schema"] in RECORDS]) == len(written)
    asked_for = PAY | {"subject": {"id": "ann", "roles": ["employee"]}}
    delegated = decide(node, "k1", asked_for, "portal")
    assert (delegated.status, "idempotent-replayed" in delegated.fields) == (200, False)
    assert decide(node, "k1", asked_for, "portal").json["id"] == delegated.json["id"]
    assert decide(node, "k1", asked_for | {"subject": {"id": "bob"}}, "portal").code == "idempotency_key_reused"
    assert node.verify().returncode == 0


def test_two_nodes_remember_calls_together(nodes: Callable[..., list[Lockgate]], redis: RedisServer) -> None:
    """Of twenty at once over two nodes all that are answered have one decision; when Redis is gone, none is made, or each its own."""
    shared = {"adapter": "redis", "server": str(redis.address), "key": "secret", "timeout": "100ms"}
    made = nodes(2, shared_state=shared)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: decide(made[number % 2], "k1"), range(20)))
    found = Counter((each.status, each.code if each.status != 200 else "") for each in answers)
    assert set(found) <= {(200, ""), (409, "idempotency_under_way")}
    assert len({each.json["id"] for each in answers if each.status == 200}) == 1
    assert decide(made[0], "k1").body == decide(made[1], "k1").body
    redis.stop()
    refused = decide(made[0], "k1")
    assert (refused.status, refused.code) == (503, "idempotency_unavailable")


def test_a_node_may_decide_twice_rather_than_not_at_all(nodes: Callable[..., list[Lockgate]], redis: RedisServer) -> None:
    """`on_failure: allow`: each call has a decision of its own while Redis is away."""
    shared = {"adapter": "redis", "server": str(redis.address), "key": "secret", "timeout": "100ms"}
    (node,) = nodes(1, settings={"on_failure": "allow"}, shared_state=shared)
    redis.stop()
    first, second = decide(node, "k1"), decide(node, "k1")
    assert (first.status, second.status) == (200, 200)
    assert first.json["id"] != second.json["id"]
