"""One suite over both: limits in this process, by nanoseconds, and those on Redis, by its microseconds."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.local_limits import LocalLimits
from adapters.redis_state.limits import RedisAllowances
from adapters.redis_state.state import RedisState
from router.errors import ConfigError
from router.ports import Draw, Limits
from tests.contract.redis_by_hand import ByHand, OneByOne, RedisLimits, Unheard
from tests.contract.redis_by_hand import settings as by_settings
from tests.redis_server import RedisServer
from tests.unit.identity.parts import SECOND, HandClock

ARRIVALS = st.lists(st.tuples(st.integers(0, 3_000_000).map(lambda us: us * 1000), st.sampled_from(["a", "b", "c", "d"])), max_size=60)
Make = Callable[[float, float, HandClock], AbstractAsyncContextManager[Limits]]
MANY = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=["local", "redis"])
def make(request: pytest.FixtureRequest) -> Make:
    @asynccontextmanager
    async def made(rate: float, burst: float, clock: HandClock) -> AsyncIterator[Limits]:
        if request.param == "local":
            yield LocalLimits(rate, burst, clock)
            return
        server: RedisServer = request.getfixturevalue("redis_server")
        state = ByHand(server, lambda: clock.now)
        await state.open()
        try:
            yield RedisLimits(state, rate, burst)
        finally:
            await state.close()

    return made


MakeState = Callable[[HandClock], AbstractAsyncContextManager[ByHand]]


@pytest.fixture(params=[ByHand, OneByOne])
def make_state(request: pytest.FixtureRequest, redis_server: RedisServer) -> MakeState:
    @asynccontextmanager
    async def made(clock: HandClock) -> AsyncIterator[ByHand]:
        state: ByHand = request.param(redis_server, lambda: clock.now)
        await state.open()
        try:
            yield state
        finally:
            await state.close()

    return made


async def admitted(limits: Limits, clock: HandClock, arrivals: list[tuple[int, str]]) -> dict[str, list[int]]:
    times: dict[str, list[int]] = {}
    for gap, key in arrivals:
        clock.now += gap
        if await limits.admit(key) is None:
            times.setdefault(key, []).append(clock.now)
    return times


def never_too_many(times: list[int], rate: float, burst: float) -> bool:
    """In every window between two admissions: at most rate × time + burst (one for rounding of the floats in this check)."""
    return all(
        last - first + 1 <= rate * (times[last] - times[first]) / SECOND + burst + 1e-6
        for first in range(len(times))
        for last in range(first, len(times))
    )


@given(ARRIVALS, st.floats(0.01, 1000), st.floats(1, 20))
@MANY
async def test_no_key_ever_gets_more_than_rate_and_burst(make: Make, arrivals: list[tuple[int, str]], rate: float, burst: float) -> None:
    """Whatever the arrival times, no window admits more than rate·t + burst for a key."""
    clock = HandClock(0)
    async with make(rate, burst, clock) as limits:
        times = await admitted(limits, clock, arrivals)
    assert all(never_too_many(one, rate, burst) for one in times.values())


@given(ARRIVALS, st.integers(1, 3))
@MANY
async def test_a_full_table_never_gives_more(arrivals: list[tuple[int, str]], capacity: int) -> None:
    """With more keys than places the limit of each key still holds and the table stays bounded."""
    clock = HandClock(0)
    limits = LocalLimits(0.5, 2, clock, capacity)
    times = await admitted(limits, clock, arrivals)
    assert all(never_too_many(one, 0.5, 2) for one in times.values())
    assert len(limits) <= capacity + 1


async def test_a_place_in_the_table_is_no_second_burst() -> None:
    """A key that drew on the shared allowance keeps that debt when it gets its own place."""
    clock = HandClock(0)
    limits = LocalLimits(0.5, 2, clock, capacity=1)
    assert [await limits.admit("first") for _ in range(2)] == [None, None]
    clock.forward(3.9)
    assert [await limits.admit("late") for _ in range(2)] == [None, None]
    clock.forward(0.2)
    assert await limits.admit("late") is not None


@given(st.floats(0.01, 1000), st.integers(1, 50))
@MANY
async def test_the_whole_burst_is_admitted_at_once(make: Make, rate: float, burst: int) -> None:
    """A rested key gets its burst, and not one more."""
    async with make(rate, burst, HandClock(0)) as limits:
        answers = [await limits.admit("k") for _ in range(burst + 1)]
    assert answers[:-1] == [None] * burst
    assert answers[-1] is not None


@given(st.floats(0.01, 1000), st.floats(1, 20))
@MANY
async def test_waiting_as_told_is_enough(make: Make, rate: float, burst: float) -> None:
    """After the number of seconds that a refusal names the same request is admitted."""
    clock = HandClock(0)
    async with make(rate, burst, clock) as limits:
        while (wait := await limits.admit("k")) is None:
            pass
        clock.now += math.ceil(wait * SECOND) + 1
        assert await limits.admit("k") is None


async def test_a_refusal_costs_nothing(make: Make) -> None:
    """Asking again and again does not push the next admission away."""
    async with make(1, 1, HandClock(0)) as limits:
        assert await limits.admit("k") is None
        assert [await limits.admit("k") for _ in range(5)] == [1.0] * 5


async def test_a_cost_above_the_burst_is_never_possible(make: Make) -> None:
    """No finite wait is promised for what can never be admitted."""
    async with make(1, 5, HandClock(0)) as limits:
        assert await limits.admit("k", 6) == math.inf
        assert await limits.admit("k", 5) is None


async def test_keys_do_not_share(make: Make) -> None:
    """One key's debt is not another's."""
    async with make(1, 1, HandClock(0)) as limits:
        assert [await limits.admit(key) for key in ("a", "b", "a")] == [None, None, 1.0]


@given(ARRIVALS, st.sampled_from([0.5, 1, 2, 4, 5, 8, 10, 100, 1000]), st.integers(1, 20))
@MANY
async def test_both_say_the_same(redis_server: RedisServer, arrivals: list[tuple[int, str]], rate: float, burst: int) -> None:
    """Of rates whose cost is a whole number of microseconds, to the microsecond."""
    clock = HandClock(0)
    state = ByHand(redis_server, lambda: clock.now)
    await state.open()
    twins = LocalLimits(rate, burst, clock), RedisLimits(state, rate, burst)
    try:
        for gap, key in arrivals:
            clock.now += gap
            own, shared = [await each.admit(key) for each in twins]
            assert own == (None if shared is None else pytest.approx(shared, abs=1e-9))
    finally:
        await state.close()


async def test_an_earlier_refusal_spares_later_allowances(make_state: MakeState) -> None:
    """Several are drawn on in order: the first that refuses is named, those before it keep what they gave, those after it gave nothing."""
    async with make_state(HandClock(0)) as state:
        allowances = RedisAllowances(state)
        wide, narrow, last = Draw("wide", 1, 3), Draw("narrow", 1, 1), Draw("last", 1, 2)
        assert await allowances.draw([wide, narrow, last]) is None
        assert await allowances.draw([wide, narrow, last]) == (1, 1.0)
        assert await allowances.draw([wide]) is None
        assert await allowances.draw([wide]) == (0, 1.0)
        assert await allowances.draw([last]) is None
        assert await allowances.draw([last]) == (0, 1.0)


async def test_a_cost_above_the_burst_is_found_behind_others(make_state: MakeState) -> None:
    """An allowance that can never admit refuses in its turn."""
    async with make_state(HandClock(0)) as state:
        allowances = RedisAllowances(state)
        assert await allowances.draw([Draw("a", 1, 1), Draw("b", 1, 1, cost=2)]) == (1, math.inf)
        assert await allowances.draw([Draw("a", 1, 1), Draw("b", 1, 1, cost=2)]) == (0, 1.0)


async def test_a_clock_that_went_back_costs_a_burst_at_most(make_state: MakeState) -> None:
    """After a failover to a server whose clock is an hour behind nobody waits for that hour."""
    clock = HandClock(3600 * SECOND)
    async with make_state(clock) as state:
        limits = RedisLimits(state, 1, 5)
        assert [await limits.admit("k") for _ in range(6)] == [None] * 5 + [1.0]
        clock.now = 0
        assert await limits.admit("k") == 1.0
        clock.forward(1)
        assert await limits.admit("k") is None


async def test_what_is_kept_goes_by_itself(redis_server: RedisServer) -> None:
    """A key's expiry is its debt, and its name says of nobody who he is."""
    state = RedisState(by_settings(redis_server, prefix="expiry"), Path(), Unheard())
    await state.open()
    try:
        assert await RedisAllowances(state).draw([Draw("subject:alice@halden.example", 0.1, 5, cost=3)]) is None
    finally:
        await state.close()
    (name,) = redis_server.ask("KEYS", "expiry:*").split()
    assert "alice" not in name
    assert 20_000 < int(redis_server.ask("PTTL", name)) <= 30_000


async def test_keys_without_debt_make_room() -> None:
    """A full table drops keys whose allowance is whole again."""
    clock = HandClock(0)
    limits = LocalLimits(10, 1, clock, capacity=3)
    for number in range(100):
        clock.forward(1)
        assert await limits.admit(str(number)) is None
    assert len(limits) <= 3


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0.5), (math.inf, 1), (math.nan, 1), (1, math.nan)])
def test_a_limit_without_meaning_is_refused(rate: float, burst: float) -> None:
    """A limit that would admit nothing or everything is a configuration fault."""
    with pytest.raises(ConfigError):
        LocalLimits(rate, burst, HandClock(0))
