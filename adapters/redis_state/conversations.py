"""Conversations of several nodes. What was said is sealed under its subject's key before it comes here."""

from __future__ import annotations

from adapters.redis_state.state import RedisState, Script

READ = Script.of("return redis.call('GET', KEYS[1])")
# ARGV: sealed, milliseconds.
WRITE = Script.of("return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])")


class RedisConversations:
    """Implements `ports.Conversations`."""

    def __init__(self, state: RedisState) -> None:
        self._state = state

    async def read(self, key: str) -> bytes | None:
        """See `ports.Conversations`."""
        self._state.check()
        until, names = self._state.until(), self._state.names.each("conversation", key)
        found = {bytes(sealed) for name in names if (sealed := await self._state.run(READ, [name], [], until))}
        return found.pop() if len(found) == 1 else None  # of two, nobody says which was written last

    async def write(self, key: str, sealed: bytes, seconds: int) -> None:
        """See `ports.Conversations`."""
        until = self._state.until()
        for name in self._state.names.each("conversation", key):
            await self._state.run(WRITE, [name], [sealed, seconds * 1000], until)
