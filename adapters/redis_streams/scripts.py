"""What is done at once on a stream and its group: whole, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adapters.redis_state.state import Script


@dataclass(frozen=True, slots=True)
class Entry:
    """As the stream has it."""

    id: bytes
    fields: Mapping[bytes, bytes]


# group, where it begins
MAKE_GROUP = Script.of("""
if redis.call('EXISTS', KEYS[1]) == 1 then
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    if info[2] == ARGV[1] then return 0 end
  end
end
redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], ARGV[2], 'MKSTREAM')
return 1
""")

# group, consumer, idle ms, cursor, count: (cursor, [(id, fields, how often it was handed out)])
CLAIM = Script.of("""
local claimed = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], 'COUNT', ARGV[5])
local found = {}
for _, entry in ipairs(claimed[2]) do
  if entry and entry[2] then
    local pending = redis.call('XPENDING', KEYS[1], ARGV[1], entry[1], entry[1], 1)
    local tries = 1
    if pending[1] then tries = pending[1][4] end
    found[#found + 1] = {entry[1], entry[2], tries}
  end
end
return {claimed[1], found}
""")

# group, consumer, ids: they are alive, those of them that are still this consumer's
OURS = Script.of("""
local ours = 0
for place = 3, #ARGV do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[place], ARGV[place], 1, ARGV[2]) > 0 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[place], 'JUSTID')
    ours = ours + 1
  end
end
return ours
""")

# group, consumer, id, tries: how often it was handed out, also here
RETRIED = Script.of("""
if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2]) == 0 then return 0 end
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'RETRYCOUNT', ARGV[4], 'JUSTID')
return 1
""")

# group, consumer, whose it is then, idle ms: all of a consumer that closes, and then the consumer itself
RETURN = Script.of("""
while true do
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 500, ARGV[2])
  if #pending == 0 then break end
  for _, entry in ipairs(pending) do
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, entry[1], 'IDLE', ARGV[4], 'RETRYCOUNT', entry[4], 'FORCE', 'JUSTID')
  end
end
return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
""")

# group, id, fields: put aside and acknowledged, unless it was before
BURY = Script.of("""
if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1) == 0 then return 0 end
redis.call('XADD', KEYS[2], '*', unpack(ARGV, 3))
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
return 1
""")
