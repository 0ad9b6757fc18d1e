"""Never more than the limit in any span; a place comes free no later than a sixtieth of the span after it might."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.local_quotas import LocalQuotas
from router.errors import StateError
from router.ports import Quota

SECOND = 1_000_000_000


class Watch:
    def __init__(self) -> None:
        self.now = 5 * SECOND

    def now_ns(self) -> int:
        return self.now

    def monotonic_ns(self) -> int:
        return self.now


async def taken(quotas: LocalQuotas, *wanted: Quota) -> tuple[int, float] | None:
    return await quotas.take(wanted)


async def admitted(gaps: Sequence[int], limit: int, seconds: int) -> list[int]:
    """The times (ns) at which a request came through, of those that come after these gaps."""
    watch = Watch()
    quotas, through = LocalQuotas(watch), []
    for gap in gaps:
        watch.now += gap
        if await quotas.take([Quota("a", limit, seconds)]) is None:
            through.append(watch.now)
    return through


@given(st.lists(st.integers(0, SECOND // 2), max_size=60), st.integers(1, 5), st.integers(1, 3))
async def test_no_span_has_more_than_the_limit(gaps: list[int], limit: int, seconds: int) -> None:
    """Wherever the span begins."""
    through = await admitted(gaps, limit, seconds)
    for place, at in enumerate(through):
        assert sum(other < at + seconds * SECOND for other in through[place:]) <= limit


async def test_a_place_comes_free_when_it_was_said_to() -> None:
    """Who waits as long as it was told comes through, and no later than a sixtieth beyond the span."""
    watch = Watch()
    quotas, quota = LocalQuotas(watch), Quota("a", 1, 60)
    assert await taken(quotas, quota) is None
    over = await taken(quotas, quota)
    assert over is not None
    assert 60 <= over[1] <= 61
    watch.now += int(over[1] * SECOND) - 1000
    assert await taken(quotas, quota) is not None
    watch.now += 2000
    assert await taken(quotas, quota) is None


async def test_a_request_counts_by_all_of_its_quotas_or_by_none() -> None:
    """One that is full takes nothing from the others; which one it was is told."""
    quotas, narrow, wide = LocalQuotas(Watch()), Quota("n", 1, 60), Quota("w", 3, 60)
    assert await taken(quotas, wide, narrow) is None
    for _ in range(5):
        over = await taken(quotas, wide, narrow)
        assert over is not None
        assert over[0] == 1
    assert await taken(quotas, wide) is None
    assert await taken(quotas, wide) is None
    assert await taken(quotas, wide) is not None


async def test_a_quota_that_is_asked_for_twice_counts_once() -> None:
    """Two policies may say the same."""
    quotas, quota = LocalQuotas(Watch()), Quota("a", 2, 60)
    assert await taken(quotas, quota, quota) is None
    assert await taken(quotas, quota, quota) is None
    assert await taken(quotas, quota, quota) is not None


async def test_keys_have_quotas_of_their_own() -> None:
    """One's flood costs nobody else."""
    quotas = LocalQuotas(Watch())
    assert [await taken(quotas, Quota(key, 1, 60)) is None for key in "aabb"] == [True, False, True, False]


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
