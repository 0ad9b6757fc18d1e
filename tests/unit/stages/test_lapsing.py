"""Policies that nobody confirms any more deny."""

from __future__ import annotations

import pytest

from adapters.memory_policy import MemoryPolicy
from router.decision import Effect
from router.errors import PolicyError
from router.stages.lapsing import Lapse, Lapsing


async def test_an_engine_decides_until_its_time_is_over_and_again_when_that_is_moved_on() -> None:
    """Without an end it decides for ever."""
    now = [10.0]
    lapse = Lapse(lambda: now[0])
    engine = Lapsing(MemoryPolicy({"admission": {"effect": "allow"}}, digest="d"), lapse)
    assert engine.digest == "d"
    for lapse.until in (None, 10.0, 11.0):
        assert (await engine.evaluate("admission", None, {})).effect is Effect.ALLOW
    now[0] = 11.1
    with pytest.raises(PolicyError) as caught:
        await engine.evaluate("admission", None, {})
    assert caught.value.code == "policy_stale"
    lapse.until = 12.0
    assert (await engine.evaluate("admission", None, {})).effect is Effect.ALLOW
