"""Two nodes and one Redis: one limit, one quota; and a Redis that dies under load holds nobody up."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest

from tests import redis_server
from tests.e2e.load import load
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, company, prepared
from tests.e2e.test_obligations import ADMISSION, DECISION, duty
from tests.e2e.wire import Answer
from tests.e2e.yard import load as configured
from tests.e2e.yard import save
from tests.redis_server import RedisServer

SLOWLY = 0.01
EACH = {"name": "each", "by": "subject", "rate": "36/h", "burst": 20}


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server.running() as server:
        yield server


@contextmanager
def two(folder: Path, server: RedisServer, limits: list[Any], workers: int = 2, **settings: Any) -> Iterator[tuple[Lockgate, Lockgate]]:
    shared = {"adapter": "redis", "server": str(server.address), "timeout": "100ms", **settings}
    with ExitStack() as stack:
        made = []
        for name in ("one", "two"):
            (folder / name).mkdir()
            made.append(stack.enter_context(company(folder / name, "--workers", str(workers), limits=limits, shared_state=shared)))
        yield made[0], made[1]


def in_turn(nodes: tuple[Lockgate, Lockgate], times: int, path: str = "/echo/x", who: str = "ann") -> list[Answer]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda number: nodes[number % 2].ask(who, "GET", path), range(times)))


def statuses(answers: list[Answer]) -> Counter[int]:
    return Counter(each.status for each in answers)


def figure(node: Lockgate, name: str) -> float:
    page = node.control("GET", "/metrics").body.decode()
    return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(name))


def unanswered(nodes: tuple[Lockgate, Lockgate]) -> float:
    """Requests that went by their node's own state, since the answer was late: on a busy machine one may be."""
    counted = "lockgate_shared_state_calls_total{result="
    return sum(figure(node, counted) - figure(node, counted + '"answered"') for node in nodes)


def detail(node: Lockgate) -> tuple[bool, str]:
    checks = node.control("GET", "/readyz").json["checks"]
    (found,) = (check for check in checks if check["name"] == "shared_state")
    return found["ok"], found["detail"]


def goes_without(node: Lockgate) -> bool:
    """A Redis that stands still takes connections: who tried to make another one says that its answer is late."""
    ok, told = detail(node)
    return ok and bool(told) and set(told.split(", ")) <= {"shared_state_unavailable", "shared_state_late"}


def test_two_nodes_hold_one_limit(tmp_path: Path, redis: RedisServer) -> None:
    """Two nodes with two workers each let one caller's burst through once, and not once each; others have their own. A limit on an intent
    leaves other intents alone, and what it refuses is on record."""
    often = {"name": "looks", "by": "subject_intent", "rate": "36/h", "burst": 6, "intents": ["look"]}
    with two(tmp_path, redis, [EACH, often]) as nodes:
        began = time.monotonic()
        looked = in_turn(nodes, 12, "/items/7")
        assert sum(statuses(looked)[status] for status in (200, 429)) == 12 > statuses(looked)[200] >= 6
        until(lambda: statuses(looked)[200] <= 6 + unanswered(nodes), "one limit held, but where Redis was late")
        assert {each.code for each in looked if each.status == 429} == {"intent_rate_limited"}
        assert all(int(each.fields["retry-after"]) > 60 for each in looked if each.status == 429)
        place = next(place for place, each in enumerate(looked) if each.status == 429)
        (decision,) = (leaf for leaf in nodes[place % 2].leaves() if leaf.get("id") == looked[place].json["decision_id"])
        assert decision["outcome"]["reason"] == "intent_rate_limited"
        echoed = in_turn(nodes, 30)
        most = 8 + SLOWLY * (time.monotonic() - began) + 1
        assert statuses(echoed)[200] >= 8, "of a burst of twenty, twelve were spent on looking"
        until(
            lambda: statuses(echoed)[200] <= most + unanswered(nodes), "and no more than those were let through, but where Redis was late"
        )
        assert {each.code for each in echoed if each.status == 429} == {"rate_limited"}
        assert statuses(in_turn(nodes, 4, who="bob")) == {200: 4}
        assert [detail(node) for node in nodes] == [(True, "")] * 2
        assert all(figure(node, 'lockgate_shared_state_calls_total{result="answered"') > 0 for node in nodes)


@pytest.mark.parametrize("number", [pytest.param(signal.SIGKILL, marks=pytest.mark.slow), signal.SIGSTOP])
def test_a_redis_that_dies_under_load_holds_nobody_up(tmp_path: Path, redis: RedisServer, number: signal.Signals) -> None:
    """Requests go on, none is lost and none hangs; each node says so; and when Redis is back it is used again."""
    with two(tmp_path, redis, [{**EACH, "rate": "100000/s", "burst": 100000}], retry="100ms") as nodes:
        with load(nodes[0], callers=2) as first, load(nodes[1], callers=2) as second:
            until(lambda: min(first.answered, second.answered) > 100, "there was some load")
            redis.signal(number)
            until(lambda: all(detail(node)[1] for node in nodes), "both nodes noticed")
            before = first.answered, second.answered
            until(lambda: first.answered > before[0] + 100 and second.answered > before[1] + 100, "requests went on")
            assert all(goes_without(node) for node in nodes)
            # A process that does not ask just now hears of it by its heartbeat.
            until(lambda: all(figure(node, "lockgate_shared_state_healthy") == 0 for node in nodes), "the figures said so")
            if number is signal.SIGKILL:
                redis.start()
            else:
                redis.signal(signal.SIGCONT)
            until(lambda: not any(detail(node)[1] for node in nodes), "Redis was found again")
        for seen in (first, second):
            assert set(seen.statuses) == {200}
            assert not seen.broken


def test_where_limits_must_hold_nobody_is_let_in(tmp_path: Path, redis: RedisServer) -> None:
    """`on_failure.limits: deny`: 503 with a named reason, not ready, counted; and a reload that drops the block serves again."""
    with two(tmp_path, redis, [EACH], 1, on_failure={"limits": "deny"}) as (node, other):
        assert node.ask("ann", "GET", "/echo/x").status == 200
        redis.signal(signal.SIGKILL)
        until(lambda: node.control("GET", "/readyz").status == 503, "it was not ready any more")
        refused = node.ask("ann", "GET", "/echo/x")
        assert (refused.status, refused.code, refused.fields["retry-after"]) == (503, "limits_unavailable", "1")
        assert detail(node) == (False, "shared_state_unavailable")
        save(node.yard.config, {name: block for name, block in configured(node.yard.config).items() if name != "shared_state"})
        assert node.control("POST", "/v1/config/reload").status == 200
        assert node.ask("ann", "GET", "/echo/x").status == 200
        assert other.ask("ann", "GET", "/echo/x").status == 503
        node.process.stop()
        assert sum(each.get("limits_unavailable", 0) for each in node.system("refused")) == 1


def test_two_nodes_hold_one_quota(tmp_path: Path, redis: RedisServer) -> None:
    """What policy lets through five times in a minute passes five times over both nodes; without Redis it is refused."""
    shared = {"adapter": "redis", "server": str(redis.address), "timeout": "100ms"}
    with ExitStack() as stack:
        made = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            node = stack.enter_context(prepared(tmp_path / name, shared_state=shared))
            rmtree(tmp_path / name / "policies/lockgate")
            (tmp_path / name / "policies/admission.rego").write_text(ADMISSION)
            (tmp_path / name / "policies/decision.rego").write_text(DECISION)
            often = {"often": [duty("rate_limit", key="subject", limit=5, per="1m")]}
            save(node.yard.data, {"lockgate": {"config": {"duties": often, "admission": {}}}})
            node.start()
            made.append(node)
        nodes = made[0], made[1]
        answers = in_turn(nodes, 12, "/items/often")
        late = [each.code for each in answers if each.status == 503]
        assert set(late) <= {"policy_rate_limit_unavailable"}
        until(lambda: len(late) == unanswered(nodes), "who was refused without an answer had none, for it was late")
        assert 5 - len(late) <= statuses(answers)[200] <= 5
        assert statuses(answers)[429] + statuses(answers)[200] == 12 - len(late)
        redis.signal(signal.SIGKILL)
        until(lambda: all(detail(node)[1] for node in nodes), "both nodes noticed")
        refused = in_turn(nodes, 2, "/items/often")
        assert {(each.status, each.code) for each in refused} == {(503, "policy_rate_limit_unavailable")}
