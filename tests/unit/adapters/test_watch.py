"""Time-outs with one timer for all."""

from __future__ import annotations

import asyncio
import math

import pytest

from adapters.http_upstream.watch import Watch


async def test_a_wait_that_is_too_long_is_a_timeout() -> None:
    """And the bound says that it was its own."""
    bound = Watch().bound(asyncio.get_running_loop().time() + 0.01)
    with pytest.raises(TimeoutError), bound:
        await asyncio.Event().wait()
    assert bound.expired
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_wait_in_time_is_left_alone() -> None:
    """Nothing happens later either."""
    with Watch().bound(asyncio.get_running_loop().time() + 0.02) as bound:
        await asyncio.sleep(0)
    await asyncio.sleep(0.06)
    assert not bound.expired


async def test_no_bound_is_infinity() -> None:
    """It outlives ticks."""
    with Watch().bound(math.inf) as bound:
        await asyncio.sleep(0.05)
    assert not bound.expired


async def test_the_end_can_be_moved() -> None:
    """Signs of life put it off."""
    loop = asyncio.get_running_loop()
    with Watch().bound(loop.time()) as bound:
        bound.until = math.inf
        await asyncio.sleep(0.05)
    assert not bound.expired


async def test_cancelling_from_outside_is_no_timeout() -> None:
    """The caller left: CancelledError stays what it is."""
    watch = Watch()

    async def waiting() -> None:
        with watch.bound(math.inf):
            await asyncio.Event().wait()

    task = asyncio.create_task(waiting())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_many_waits_end_each_at_its_own_time() -> None:
    """One expires, its neighbour under the same watch goes on."""
    watch = Watch()
    now = asyncio.get_running_loop().time()

    async def waiting(until: float) -> str:
        try:
            with watch.bound(until):
                await asyncio.sleep(0.1)
        except TimeoutError:
            return "late"
        return "in time"

    assert await asyncio.gather(waiting(now), waiting(math.inf), waiting(now + 0.02)) == ["late", "in time", "late"]


async def test_the_timer_rests_when_nothing_waits() -> None:
    """An idle destination wakes nobody."""
    watch = Watch()
    with watch.bound(math.inf):
        pass
    await asyncio.sleep(0.05)
    assert watch._timer is None
