from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.local_limits import LocalLimits
from router.errors import ConfigError
from tests.unit.identity.parts import SECOND, HandClock

ARRIVALS = st.lists(st.tuples(st.integers(0, 3 * SECOND), st.sampled_from(["a", "b", "c", "d"])), max_size=60)


async def admitted(limits: LocalLimits, clock: HandClock, arrivals: list[tuple[int, str]]) -> dict[str, list[int]]:
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
@settings(deadline=None)
async def test_no_key_ever_gets_more_than_rate_and_burst(arrivals: list[tuple[int, str]], rate: float, burst: float) -> None:
    """Whatever the arrival times, no window admits more than rate·t + burst for a key."""
    clock = HandClock(0)
    times = await admitted(LocalLimits(rate, burst, clock), clock, arrivals)
    assert all(never_too_many(one, rate, burst) for one in times.values())


@given(ARRIVALS, st.integers(1, 3))
@settings(deadline=None)
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
@settings(deadline=None)
async def test_the_whole_burst_is_admitted_at_once(rate: float, burst: int) -> None:
    """A rested key gets its burst, and not one more."""
    limits = LocalLimits(rate, burst, HandClock(0))
    answers = [await limits.admit("k") for _ in range(burst + 1)]
    assert answers[:-1] == [None] * burst
    assert answers[-1] is not None


@given(st.floats(0.01, 1000), st.floats(1, 20))
@settings(deadline=None)
async def test_waiting_as_told_is_enough(rate: float, burst: float) -> None:
    """After the number of seconds that a refusal names the same request is admitted."""
    clock = HandClock(0)
    limits = LocalLimits(rate, burst, clock)
    while (wait := await limits.admit("k")) is None:
        pass
    clock.now += math.ceil(wait * SECOND) + 1
    assert await limits.admit("k") is None


async def test_a_refusal_costs_nothing() -> None:
    """Asking again and again does not push the next admission away."""
    clock = HandClock(0)
    limits = LocalLimits(1, 1, clock)
    assert await limits.admit("k") is None
    assert [await limits.admit("k") for _ in range(5)] == [1.0] * 5


async def test_a_cost_above_the_burst_is_never_possible() -> None:
    """No finite wait is promised for what can never be admitted."""
    limits = LocalLimits(1, 5, HandClock(0))
    assert await limits.admit("k", 6) == math.inf
    assert await limits.admit("k", 5) is None


async def test_keys_do_not_share() -> None:
    """One key's debt is not another's."""
    limits = LocalLimits(1, 1, HandClock(0))
    assert [await limits.admit(key) for key in ("a", "b", "a")] == [None, None, 1.0]


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
