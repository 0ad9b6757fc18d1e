"""Classifiers' answers that nodes share: within one process, and on Redis, where somebody else may write."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from adapters.local_answers import LocalAnswers
from adapters.redis_state.answers import MOST_BYTES, RedisAnswers
from router.ports import SharedAnswers
from tests import redis_server
from tests.faults.test_redis_places import clustered, watched
from tests.faults.test_shared_state import opened, until
from tests.redis_server import RedisServer
from tests.unit.identity.parts import HandClock

KEY = b"\x01" * 32
ANSWER = b'["pay","m@1"]'
SECRET = b"of all nodes"


class Seen:
    def __init__(self) -> None:
        self.results: list[tuple[str, str]] = []

    def answer_shared(self, tier: str, result: str) -> None:
        self.results.append((tier, result))

    @property
    def last(self) -> str:
        return self.results[-1][1]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def seen() -> Seen:
    return Seen()


@asynccontextmanager
async def on_redis(clock: HandClock, seen: Seen, secret: bytes = SECRET, wait: float = 0.1, **settings: Any) -> AsyncIterator[RedisAnswers]:
    async with opened(**{"key": "abc", **settings}) as state:
        yield RedisAnswers(state, secret, wait, 60.0, clock, seen)


@pytest.fixture(params=["local", "redis"])
async def answers(request: pytest.FixtureRequest, clock: HandClock, seen: Seen) -> AsyncIterator[SharedAnswers]:
    if request.param == "local":
        yield LocalAnswers(60.0, clock, seen)
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    async with on_redis(clock, seen, server=server.address, prefix=f"a{time.monotonic_ns()}") as made:
        yield made


@pytest.fixture
def own() -> Iterator[RedisServer]:
    with redis_server.running() as server:
        yield server


async def put(answers: SharedAnswers, answer: bytes = ANSWER, tier: str = "llm", key: bytes = KEY) -> None:
    """And waits until it can be read, which nobody else does."""
    answers.put(tier, key, answer)
    for _ in range(400):
        if await answers.get(tier, key) == answer:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("what was put there cannot be read")


async def test_what_one_puts_is_found(answers: SharedAnswers, seen: Seen) -> None:
    """By its key and its tier, and by no other; what came of it is counted."""
    assert await answers.get("llm", KEY) is None
    assert seen.results == [("llm", "missed")]
    await put(answers)
    assert seen.results[1] == ("llm", "told")
    assert seen.last == "found"
    assert await answers.get("encoder", KEY) is None
    assert await answers.get("llm", b"\x02" * 32) is None


async def test_an_answer_has_its_time(answers: SharedAnswers, clock: HandClock, seen: Seen) -> None:
    """After that it is none, even where it is there still."""
    await put(answers)
    clock.forward(59)
    assert await answers.get("llm", KEY) == ANSWER
    clock.forward(2)
    assert await answers.get("llm", KEY) is None
    assert seen.last == "expired"


def the_key(server: RedisServer) -> str:
    (key,) = server.ask("KEYS", "*:answer:*").split()
    return key


async def test_redis_learns_neither_text_nor_answer(own: RedisServer, clock: HandClock, seen: Seen) -> None:
    """Names are keyed digests: who knows how they are made, and guesses the text, cannot tell; and keys expire."""
    names = []
    for secret in ("abc", "other"):
        async with on_redis(clock, seen, server=own.address, key=secret) as answers:
            await put(answers)
            names.append(the_key(own))
            assert "pay" not in own.ask("GET", names[-1])
            assert 0 < int(own.ask("PTTL", names[-1])) <= 60_000
            own.ask("DEL", names[-1])
    assert names[0] != names[1]


@pytest.mark.parametrize("forged", ['["pay","m@1"]', "x", "", "x" * 40, "x" * (MOST_BYTES + 1)])
async def test_nobody_else_invents_an_answer(own: RedisServer, clock: HandClock, seen: Seen, forged: str) -> None:
    """Whatever is written there without the key is ignored and counted."""
    async with on_redis(clock, seen, server=own.address) as answers:
        await put(answers)
        own.ask("SET", the_key(own), forged)
        assert await answers.get("llm", KEY) is None
        assert seen.last == "forged"


async def test_nor_moves_one_to_another_text(own: RedisServer, clock: HandClock, seen: Seen) -> None:
    """A real answer is one to its own question alone; a value of another type is none at all; another key's neither."""
    async with on_redis(clock, seen, server=own.address) as answers, on_redis(clock, seen, b"another", server=own.address) as stranger:
        await put(answers)
        first = the_key(own)
        assert await stranger.get("llm", KEY) is None
        assert seen.last == "forged"
        await put(answers, b'["cancel","m@1"]', key=b"\x02" * 32)
        (second,) = set(own.ask("KEYS", "*:answer:*").split()) - {first}
        own.ask("COPY", second, first, "REPLACE")
        assert await answers.get("llm", KEY) is None
        assert seen.last == "forged"
        own.ask("DEL", first)
        own.ask("HSET", first, "a", "b")
        assert await answers.get("llm", KEY) is None
        assert seen.last == "unavailable"


async def test_what_is_not_as_it_should_be_does_not_raise(own: RedisServer, clock: HandClock, seen: Seen) -> None:
    """An answer that is too long is not kept."""
    async with on_redis(clock, seen, server=own.address) as answers:
        answers.put("llm", KEY, b"x" * MOST_BYTES)
        assert await answers.get("llm", KEY) is None
        assert own.ask("DBSIZE") == "0"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_redis_that_is_away_is_passed_over(own: RedisServer, clock: HandClock, seen: Seen, number: signal.Signals) -> None:
    """Whoever asks hears nothing, in its time; once the loss is known nobody asks; and afterwards answers are found again."""
    async with on_redis(clock, seen, wait=0.005, server=own.address) as answers:
        await put(answers)
        own.signal(number)
        for _ in range(8):
            assert await answers.get("llm", KEY) is None
            assert seen.last in ("late", "unavailable")
        await until(lambda: answers._state.problem is not None, "the loss is noticed")
        answers.put("llm", KEY, ANSWER)
        assert await answers.get("llm", KEY) is None
        assert seen.last == "unavailable"
        own.start() if number is signal.SIGKILL else own.signal(signal.SIGCONT)
        await until(lambda: answers._state.problem is None, "Redis is back")
        await put(answers)


async def test_a_late_answer_alone_does_not_give_the_connection_up(own: RedisServer, clock: HandClock, seen: Seen) -> None:
    """Nobody waits for it longer than for a look; limits, which wait longer, still have their connection."""
    async with on_redis(clock, seen, wait=0.0, server=own.address, failures=1) as answers:
        for _ in range(20):
            assert await answers.get("llm", KEY) is None
        assert set(seen.results) == {("llm", "late")}
        assert answers._state.problem is None
        await answers._state.ping()


async def test_behind_sentinels_and_in_a_cluster(clock: HandClock, seen: Seen) -> None:
    """One key, wherever it is."""
    with watched() as (_, _, sentinel):
        async with on_redis(clock, seen, sentinel={"nodes": [str(sentinel.address)], "master": "gate"}) as answers:
            await put(answers)
    with clustered() as servers:
        async with on_redis(clock, seen, cluster=[str(servers[0].address)]) as answers:
            for number in range(20):
                await put(answers, key=bytes([number]) * 32)
