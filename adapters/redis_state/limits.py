"""Rate limits that several nodes draw on together: the generic cell rate algorithm (ITU-T I.371) by Redis' own clock, one number a key."""

from __future__ import annotations

import math
from collections.abc import Sequence

from adapters.redis_state.state import RedisState, Script
from router.ports import Draw

SECOND = 1_000_000
"""Redis' clock counts microseconds."""

# KEYS: allowances in order. ARGV: for each its cost and its tolerance in microseconds. Answers which refuses, from 1, and how long it will;
# or 0. A value that lies further ahead than the tolerance is from a clock that was ahead, of a server that is gone: a full debt is the most
# that anybody has, and is written down as such. A key lives for as long as it is in debt.
DRAW = Script.of("""\
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function keep(key, value)
  redis.call('SET', key, string.format('%.0f', value), 'PX', math.ceil((value - now) / 1000))
end
for place, key in ipairs(KEYS) do
  local cost, tolerance = tonumber(ARGV[2 * place - 1]), tonumber(ARGV[2 * place])
  local paid = math.max(now, tonumber(redis.call('GET', key) or now))
  if paid > now + tolerance then
    paid = now + tolerance
    keep(key, paid)
  end
  local after = paid + cost
  if after - now > tolerance then return {place, after - now - tolerance} end
  keep(key, after)
end
return {0, 0}
""")


class RedisAllowances:
    """Implements `ports.Allowances`."""

    def __init__(self, state: RedisState) -> None:
        self._state = state

    async def draw(self, wanted: Sequence[Draw]) -> tuple[int, float] | None:
        """See `ports.Allowances`. On one server it is one question; a cluster is asked for one allowance after the other."""
        self._state.check()
        until = self._state.until()
        keys: list[tuple[str, ...]] = []
        bounds: list[tuple[int, int]] = []
        for place, each in enumerate(wanted):
            cost, tolerance = _microseconds(each)
            if cost > tolerance:
                over = await self._ask(keys, bounds, until)
                return over if over is not None else (place, math.inf)
            keys.append(self._state.names.each("limit", each.key))
            bounds.append((cost, tolerance))
        return await self._ask(keys, bounds, until)

    async def _ask(self, keys: list[tuple[str, ...]], bounds: list[tuple[int, int]], until: float) -> tuple[int, float] | None:
        """Under each of its names an allowance is drawn on by itself."""
        asked = [(place, key, bounds[place]) for place, names in enumerate(keys) for key in names]
        step = len(asked) if self._state.together else 1
        for begin in range(0, len(asked), step or 1):
            places, named, of_each = zip(*asked[begin : begin + step], strict=True)
            answer = await self._state.run(DRAW, named, [number for each in of_each for number in each], until)
            if answer[0]:
                return places[int(answer[0]) - 1], int(answer[1]) / SECOND
        return None


def _microseconds(wanted: Draw) -> tuple[int, int]:
    """Cost and tolerance. Rounding is always against the caller, so that many admissions never exceed the limit."""
    one = math.ceil(SECOND / wanted.rate)
    return math.ceil(wanted.cost * one), math.floor(wanted.burst * one)
