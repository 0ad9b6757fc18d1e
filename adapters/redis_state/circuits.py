"""What nodes tell each other of upstreams that fail: one hash, a field for each upstream, by Redis' own clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapters.redis_state.failures import UNUSABLE
from adapters.redis_state.state import RedisState, Script
from router.errors import StateError
from router.ports import Posted, Telling

SECOND = 1_000_000
KEEP_S = 600

# KEYS: the board. ARGV: who, for how long news stay (microseconds), how many tellings, each with its field, what, and for how long; how
# many fields are asked for, and those. A value is: what, until when, who, version. One that is none of ours is as if it were not there.
# Answers the place of each field that there is something about, from 1, what, for how long still, who, and the version.
EXCHANGE = Script.of("""\
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local who, keep, told = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local function look(field)
  local what, till, by, version = string.match(redis.call('HGET', KEYS[1], field) or '', '^(%a+) (%d+) (%x+) (%d+)$')
  return what, tonumber(till or 0), by, version
end
local function put(field, what, till, version)
  redis.call('HSET', KEYS[1], field, string.format('%s %.0f %s %s', what, till, who, version))
end
local stamp = string.format('%.0f', now)
local at = 4
for _ = 1, told do
  local field, news, lasts = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  at = at + 3
  local what, till, by, version = look(field)
  local holds = what == 'open' and till > now and till <= now + keep
  if news == 'closed' then
    put(field, 'closed', now + keep, stamp)
  elseif news == 'probe' and what == 'open' and by == who then
    put(field, 'open', now + lasts, version)
  elseif news == 'probe' or not holds then
    put(field, 'open', now + lasts, stamp)
  elseif by == who then
    put(field, 'open', math.max(till, now + lasts), version)
  end
end
if told > 0 then redis.call('PEXPIRE', KEYS[1], math.ceil(keep / 500)) end
local answer = {}
for place = 1, tonumber(ARGV[at]) do
  local field = ARGV[at + place]
  local what, till, by, version = look(field)
  if what ~= nil then
    if till + keep < now then
      redis.call('HDEL', KEYS[1], field)
    else
      answer[#answer + 1] = {place, what, string.format('%.0f', math.max(0, till - now)), by, version}
    end
  end
end
return answer
""")


class RedisCircuits:
    """Implements `ports.CircuitBoard`."""

    def __init__(self, state: RedisState) -> None:
        self._state = state
        self._key = state.names.of("circuits", "")
        self._fields: dict[str, str] = {}

    async def exchange(self, who: str, tellings: Sequence[Telling], names: Sequence[str]) -> Mapping[str, Posted]:
        """See `ports.CircuitBoard`."""
        said = [part for each in tellings for part in (self._field(each.name), each.what.value, _microseconds(each.lasts))]
        arguments = [who, KEEP_S * SECOND, len(tellings), *said, len(names), *(self._field(name) for name in names)]
        answer = await self._state.run(EXCHANGE, [self._key], arguments, self._state.until(), counted=False)
        try:
            return {
                names[place - 1]: Posted(what == b"open", int(lasts) / SECOND, by.decode(), int(version))
                for place, what, lasts, by, version in answer
            }
        except (ValueError, TypeError, AttributeError, IndexError) as error:
            raise StateError(f"Redis answered with something that is no circuit of ours: {error}.", UNUSABLE) from error

    def _field(self, name: str) -> str:
        found = self._fields.get(name)
        if found is None:
            found = self._fields[name] = self._state.names.of("circuit", name).rpartition(":")[2]
        return found


def _microseconds(seconds: float) -> int:
    return max(0, min(round(seconds * SECOND), KEEP_S * SECOND))
