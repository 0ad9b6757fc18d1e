"""What nodes use up together: a hash for each tally, a field for each who draws on it and one for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial

from adapters.redis_state.each import each
from adapters.redis_state.state import RedisState, Script
from router.errors import StateError

ALL = "*"
PATIENCE_S = 1.0  # for what takes seconds anyhow, and is refused where nobody can be asked

# KEYS: the tally. ARGV: who, how much, most of all and of each (-1 for any), milliseconds until it is forgotten. Answers 1, or 0 with
# nothing counted.
TAKE = Script.of("""\
local who, amount, most, each = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local all = tonumber(redis.call('HGET', KEYS[1], '*') or 0)
local own = tonumber(redis.call('HGET', KEYS[1], who) or 0)
if (most >= 0 and all + amount > most) or (each >= 0 and own + amount > each) then return 0 end
redis.call('HINCRBY', KEYS[1], '*', amount)
redis.call('HINCRBY', KEYS[1], who, amount)
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1
""")

# KEYS: the tally. ARGV: who, how much. Never below nothing, and nothing of what was forgotten.
ADD = Script.of("""\
for _, name in ipairs({'*', ARGV[1]}) do
  local count = redis.call('HGET', KEYS[1], name)
  if count then
    redis.call('HINCRBY', KEYS[1], name, math.max(tonumber(ARGV[2]), -tonumber(count)))
  end
end
return 1
""")


class RedisTallies:
    """Implements `ports.Tallies`."""

    def __init__(self, state: RedisState) -> None:
        self._state = state

    async def take(self, tally: str, who: str, amount: int, most: int | None, most_each: int | None, seconds: int) -> bool:
        """See `ports.Tallies`."""
        bounds = [-1 if bound is None else bound for bound in (most, most_each)]
        taken: list[tuple[str, str]] = []
        full = False
        try:
            for key, whose in self._named(tally, who):
                full = await self._state.run(TAKE, [key], [whose, amount, *bounds, seconds * 1000], self._until()) != 1
                if full:
                    break
                taken.append((key, whose))
        except StateError:
            await self._put_back(taken, amount)
            raise
        if full:
            await self._put_back(taken, amount)
        return not full

    async def add(self, tally: str, who: str, amount: int) -> None:
        """See `ports.Tallies`."""
        await self._add(self._named(tally, who), amount)

    async def _put_back(self, taken: Iterable[tuple[str, str]], amount: int) -> None:
        """What cannot be put back stays counted."""
        with suppress(StateError):
            await self._add(taken, -amount)

    async def _add(self, named: Iterable[tuple[str, str]], amount: int) -> None:
        await each(partial(self._one, key, whose, amount) for key, whose in named)

    async def _one(self, key: str, whose: str, amount: int) -> None:
        await self._state.run(ADD, [key], [whose, amount], self._until())

    def _named(self, tally: str, who: str) -> Iterator[tuple[str, str]]:
        """Who draws on it is another one in each tally: what somebody used on one day cannot be put beside another day's."""
        names = self._state.names
        whose = (name.rpartition(":")[2] for name in names.each("who", f"{tally}\0{who}"))
        return zip(names.each("tally", tally), whose, strict=True)

    def _until(self) -> float:
        return asyncio.get_running_loop().time() + PATIENCE_S
