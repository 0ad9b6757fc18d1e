"""What nodes use up together: a hash for each tally, a field for each who draws on it and one for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

from adapters.redis_state.state import RedisState, Script

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
        bounds = [-1 if each is None else each for each in (most, most_each)]
        taken: list[tuple[str, str]] = []
        for key, whose in self._named(tally, who):
            answer = await self._state.run(TAKE, [key], [whose, amount, *bounds, seconds * 1000], self._until())
            if answer != 1:
                await self._add(taken, -amount)
                return False
            taken.append((key, whose))
        return True

    async def add(self, tally: str, who: str, amount: int) -> None:
        """See `ports.Tallies`."""
        await self._add(self._named(tally, who), amount)

    async def _add(self, named: Iterable[tuple[str, str]], amount: int) -> None:
        for key, whose in named:
            await self._state.run(ADD, [key], [whose, amount], self._until())

    def _named(self, tally: str, who: str) -> Iterator[tuple[str, str]]:
        """Who draws on it is another one in each tally: what somebody used on one day cannot be put beside another day's."""
        names = self._state.names
        whose = (name.rpartition(":")[2] for name in names.each("who", f"{tally}\0{who}"))
        return zip(names.each("tally", tally), whose, strict=True)

    def _until(self) -> float:
        return asyncio.get_running_loop().time() + PATIENCE_S
