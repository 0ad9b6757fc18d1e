"""Never more than the limit in any span; a place comes free no later than a sixtieth of the span after it might. One suite over all: in
this process, on Redis at once, and on Redis as a cluster is asked, one after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.local_quotas import LocalQuotas
from adapters.redis_state.quotas import RedisQuotas
from router.errors import StateError
from router.ports import Quota, Quotas
from tests.contract.redis_by_hand import ByHand, OneByOne
from tests.redis_server import RedisServer

SECOND = 1_000_000_000


class Watch:
    def __init__(self) -> None:
        self.now = 5 * SECOND

    def now_ns(self) -> int:
        return self.now

    def monotonic_ns(self) -> int:
        return self.now


Make = Callable[[Watch], AbstractAsyncContextManager[Quotas]]
MANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=["local", "redis", "cluster"])
def make(request: pytest.FixtureRequest) -> Make:
    @asynccontextmanager
    async def made(watch: Watch) -> AsyncIterator[Quotas]:
        if request.param == "local":
            yield LocalQuotas(watch)
            return
        kind = ByHand if request.param == "redis" else OneByOne
        state = kind(request.getfixturevalue("redis_server"), lambda: watch.now)
        await state.open()
        try:
            yield RedisQuotas(state)
        finally:
            await state.close()

    return made


async def taken(quotas: Quotas, *wanted: Quota) -> tuple[int, float] | None:
    return await quotas.take(wanted)


async def admitted(make: Make, gaps: Sequence[int], limit: int, seconds: int) -> list[int]:
    """The times (ns) at which a request came through, of those that come after these gaps."""
    watch, through = Watch(), []
    async with make(watch) as quotas:
        for gap in gaps:
            watch.now += gap
            if await quotas.take([Quota("a", limit, seconds)]) is None:
                through.append(watch.now)
    return through


@given(st.lists(st.integers(0, 500_000).map(lambda us: us * 1000), max_size=60), st.integers(1, 5), st.integers(1, 3))
@MANY
async def test_no_span_has_more_than_the_limit(make: Make, gaps: list[int], limit: int, seconds: int) -> None:
    """Wherever the span begins."""
    through = await admitted(make, gaps, limit, seconds)
    for place, at in enumerate(through):
        assert sum(other < at + seconds * SECOND for other in through[place:]) <= limit


async def test_a_place_comes_free_when_it_was_said_to(make: Make) -> None:
    """Who waits as long as it was told comes through, and no later than a sixtieth beyond the span."""
    watch, quota = Watch(), Quota("a", 1, 60)
    async with make(watch) as quotas:
        assert await taken(quotas, quota) is None
        over = await taken(quotas, quota)
        assert over is not None
        assert 60 <= over[1] <= 61
        watch.now += int(over[1] * SECOND) - 1000
        assert await taken(quotas, quota) is not None
        watch.now += 2000
        assert await taken(quotas, quota) is None


async def test_a_request_counts_by_all_of_its_quotas_or_by_none(make: Make) -> None:
    """One that is full takes nothing from the others; which one it was is told."""
    narrow, wide = Quota("n", 1, 60), Quota("w", 3, 60)
    async with make(Watch()) as quotas:
        assert await taken(quotas, wide, narrow) is None
        for _ in range(5):
            over = await taken(quotas, wide, narrow)
            assert over is not None
            assert over[0] == 1
        assert await taken(quotas, wide) is None
        assert await taken(quotas, wide) is None
        assert await taken(quotas, wide) is not None


async def test_of_several_that_are_full_one_is_named_with_its_wait(make: Make) -> None:
    """The caller is told of one that is full, and how long that one is."""
    first, second = Quota("n", 1, 60), Quota("w", 1, 600)
    async with make(Watch()) as quotas:
        assert await taken(quotas, first) is None
        assert await taken(quotas, second) is None
        over = await taken(quotas, first, second)
        assert over is not None
        assert 60 * 10 ** over[0] <= over[1] <= 61 * 10 ** over[0]


async def test_a_quota_that_is_asked_for_twice_counts_once(make: Make) -> None:
    """Two policies may say the same."""
    quota = Quota("a", 2, 60)
    async with make(Watch()) as quotas:
        assert await taken(quotas, quota, quota) is None
        assert await taken(quotas, quota, quota) is None
        assert await taken(quotas, quota, quota) is not None


async def test_keys_have_quotas_of_their_own(make: Make) -> None:
    """One's flood costs nobody else."""
    async with make(Watch()) as quotas:
        assert [await taken(quotas, Quota(key, 1, 60)) is None for key in "aabb"] == [True, False, True, False]


@given(st.lists(st.tuples(st.integers(0, 20_000_000), st.sampled_from(["ab", "a", "b", "ba"])), max_size=60), st.integers(1, 5))
@MANY
async def test_both_say_the_same(redis_server: RedisServer, arrivals: list[tuple[int, str]], limit: int) -> None:
    """Of spans whose slots begin together."""
    watch = Watch()
    state, spans = ByHand(redis_server, lambda: watch.now), {"a": 60, "b": 120}
    await state.open()
    try:
        own, shared = LocalQuotas(watch), RedisQuotas(state)
        for gap, keys in arrivals:
            watch.now += gap * 1000
            wanted = [Quota(key, limit, spans[key]) for key in keys]
            first, second = await own.take(wanted), await shared.take(wanted)
            assert (first is None) == (second is None)
            if first is not None and second is not None:
                assert (first[0], pytest.approx(first[1])) == second
    finally:
        await state.close()


async def test_the_table_is_bounded_and_fails_closed() -> None:
    """Keys that count nothing any more make room; when all count, another is an error and not a request that nobody counted."""
    watch = Watch()
    quotas = LocalQuotas(watch, capacity=20)
    for number in range(20):
        assert await taken(quotas, Quota(f"k{number}", 1, 1)) is None
    with pytest.raises(StateError) as caught:
        await taken(quotas, Quota("new", 1, 1))
    assert caught.value.code == "policy_rate_limit_unavailable"
    watch.now += 2 * SECOND
    assert await taken(quotas, Quota("new", 1, 1)) is None
    assert len(quotas) <= 20
