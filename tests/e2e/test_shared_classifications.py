"""Two nodes, one language model, one Redis: what one was answered the other does not ask again."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import redis_server
from tests.contract.llm_server import LlmServer, serving
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, prepared
from tests.e2e.test_llm_tier import UNSURE, calibrate, choosing, told, with_intents
from tests.e2e.test_shared_state import figure
from tests.e2e.yard import load, save
from tests.redis_server import RedisServer


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server.running() as server:
        yield server


@pytest.fixture
def nodes(tmp_path: Path, redis: RedisServer) -> Iterator[list[Lockgate]]:
    """Alike in everything but where they listen; the model is where the first one has nobody."""
    shared = {
        "adapter": "redis",
        "server": str(redis.address),
        "key": "of all nodes",
        "retry": "100ms",
        "classifications": {"tiers": ["llm", "encoder"], "wait": "25ms"},
    }
    llm = {"url": "http://127.0.0.1:1/v1", "model": "small", "calibration": "llm.json", "cache": 0, "failures": 100, "deadline": "20s"}
    classifier = {
        "llm": llm,
        "min_confidence": 0.8,
        "min_margin": 0.95,
        "min_scope": 0.0,
        "coverage": 0.5,
        "deadline": "5s",
        "static": False,
    }
    with ExitStack() as stack:
        made: list[Lockgate] = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            node = stack.enter_context(prepared(tmp_path / name, classifier=classifier, shared_state=shared))
            config = load(node.yard.config)
            first = made[0] if made else node
            config["classifier"]["llm"]["url"] = f"http://127.0.0.1:{first.ports['nobody']}/v1"
            save(node.yard.config, config)
            if made:
                save(node.yard.folder / "catalog.yaml", load(first.yard.folder / "catalog.yaml"))
            else:
                with_intents(node)
            calibrate(node)
            node.start()
            made.append(node)
        yield made


def seen(node: Lockgate, tier: str, result: str) -> float:
    page = node.control("GET", "/metrics").body.decode().splitlines()
    lines = [line for line in page if line.startswith("lockgate_shared_state_answers_total{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines if f'tier="{tier}"' in line and f'result="{result}"' in line)


async def in_time(node: Lockgate, text: str, before: Callable[[], None] = lambda: None) -> tuple[int, dict[str, Any]]:
    """What was told when a look at Redis was not late, as it may be on a busy machine: a node goes by itself then, as it should."""
    for _ in range(10):
        late = seen(node, "llm", "late") + seen(node, "encoder", "late")
        before()
        answer = await told(node, text)
        if seen(node, "llm", "late") + seen(node, "encoder", "late") == late:
            return answer
    raise AssertionError("Redis was late ten times in a row")


def forge(redis: RedisServer) -> None:
    for key in redis.ask("KEYS", "*:answer:*").split():
        redis.ask("SET", key, '["send_back","small"]')


async def test_a_model_is_asked_once_and_not_at_all_by_who_forges(nodes: list[Lockgate], redis: RedisServer) -> None:
    """The record of the second says that the answer came from a cache. What somebody writes there decides nothing, and without Redis each
    asks for itself."""
    one, two = nodes
    async with serving(LlmServer(content=choosing("pay")), one.ports["nobody"]) as server:
        status, first = await told(one, UNSURE)
        assert (status, first["intent"], first["tier"], first["cached"]) == (200, "pay", "llm", False), first
        status, second = await in_time(two, UNSURE)
        assert (status, second["intent"], second["tier"], second["cached"]) == (200, "pay", "llm", True)
        assert {**first, "cached": True, "stages_ns": 0} == {**second, "stages_ns": 0}
        asked = 1 + seen(two, "llm", "late")
        assert len(server.asked) == asked
        assert seen(two, "llm", "found") >= 1
        assert seen(two, "encoder", "found") >= 1
        status, third = await in_time(two, UNSURE + " ", lambda: forge(redis))
        assert (status, third["intent"], len(server.asked)) == (200, "pay", 2 + seen(two, "llm", "late")), third
        assert seen(two, "llm", "forged") == 1
        asked = len(server.asked)
        redis.signal(signal.SIGKILL)
        until(lambda: all(figure(node, "lockgate_shared_state_healthy") == 0 for node in nodes), "both noticed")
        status, fourth = await told(one, UNSURE)
        assert (status, fourth["intent"], fourth["cached"], len(server.asked)) == (200, "pay", False, asked + 1)
