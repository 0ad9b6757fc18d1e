"""Policy's quotas of several nodes together: as `local_quotas` counts them, in slots of a sixtieth of the span, by Redis' own clock.

A key is a hash: a field for each slot that counts something, and its expiry is the span. At most 62 small numbers, whatever the limit.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapters.redis_state.state import RedisState, Script
from router.errors import StateError
from router.ports import Quota

SLOTS = 60
SECOND = 1_000_000

# KEYS: quotas. ARGV: for each its limit and the width of its slots in microseconds. Answers 0 when all were counted, and the number of the
# slot that each was counted in; else, with nothing counted, which is over for longest, from 1, and for how many microseconds still.
TAKE = Script.of("""\
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local worst, longest, slots = 0, -1, {}
for place, key in ipairs(KEYS) do
  local limit, width = tonumber(ARGV[2 * place - 1]), tonumber(ARGV[2 * place])
  local slot = math.floor(now / width)
  local fields, count, oldest, gone = redis.call('HGETALL', key), 0, nil, {}
  for at = 1, #fields, 2 do
    local one = tonumber(fields[at])
    if one < slot - 60 then
      gone[#gone + 1] = fields[at]
    else
      count = count + tonumber(fields[at + 1])
      if oldest == nil or one < oldest then oldest = one end
    end
  end
  if #gone > 0 then redis.call('HDEL', key, unpack(gone)) end
  slots[place] = slot
  if count >= limit then
    local wait = (oldest + 61) * width - now
    if wait > longest then worst, longest = place, wait end
  end
end
if worst > 0 then return {worst, longest} end
local answer = {0}
for place, key in ipairs(KEYS) do
  local width = tonumber(ARGV[2 * place])
  redis.call('HINCRBY', key, string.format('%.0f', slots[place]), 1)
  redis.call('PEXPIRE', key, math.ceil(width * 61 / 1000))
  answer[place + 1] = slots[place]
end
return answer
""")

# Takes one out of a slot again. KEYS: the quota. ARGV: the slot.
PUT_BACK = Script.of("""\
local count = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0)
if count > 1 then redis.call('HINCRBY', KEYS[1], ARGV[1], -1) elseif count == 1 then redis.call('HDEL', KEYS[1], ARGV[1]) end
return 0
""")


class RedisQuotas:
    """Implements `ports.Quotas`. In a cluster quotas are taken one after the other, and put back when a later one refuses: for that long
    somebody else may be refused too, but nobody is ever let through who should not be."""

    def __init__(self, state: RedisState) -> None:
        self._state = state

    async def take(self, wanted: Sequence[Quota]) -> tuple[int, float] | None:
        """See `ports.Quotas`."""
        self._state.check()
        places = {
            name: place for place, each in reversed([*enumerate(wanted)]) for name in self._state.names.each("quota", each.key)
        }  # one asked for twice counts once
        keys = sorted(places, key=lambda key: places[key])
        until = self._state.until()
        if self._state.together:
            answer = await self._ask(keys, [wanted[places[key]] for key in keys], until)
            return _over(answer, [places[key] for key in keys])
        return await self._one_by_one([(key, wanted[places[key]], places[key]) for key in keys], until)

    async def _one_by_one(self, asked: list[tuple[str, Quota, int]], until: float) -> tuple[int, float] | None:
        taken: list[tuple[str, int]] = []
        try:
            for key, quota, place in asked:
                answer = await self._ask([key], [quota], until)
                if answer[0]:
                    await self._put_back(taken)
                    return _over(answer, [place])
                taken.append((key, int(answer[1])))
        except StateError:
            await self._put_back(taken)
            raise
        return None

    async def _put_back(self, taken: list[tuple[str, int]]) -> None:
        """What cannot be put back stays counted."""
        until = self._state.until()
        for key, slot in taken:
            try:
                await self._state.run(PUT_BACK, [key], [slot], until)
            except StateError:
                continue

    async def _ask(self, keys: list[str], quotas: list[Quota], until: float) -> list[int]:
        arguments = [number for each in quotas for number in (each.limit, _width(each))]
        answer: list[int] = await self._state.run(TAKE, keys, arguments, until)
        return answer


def _over(answer: list[int], places: list[int]) -> tuple[int, float] | None:
    return (places[answer[0] - 1], answer[1] / SECOND) if answer[0] else None


def _width(quota: Quota) -> int:
    """Rounded up: a span must not be counted short."""
    return -(-quota.seconds * SECOND // SLOTS)
