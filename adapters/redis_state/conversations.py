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
        found = await self._state.run(READ, [self._state.names.of("conversation", key)], [], self._state.until())
        return bytes(found) if found else None

    async def write(self, key: str, sealed: bytes, seconds: int) -> None:
        """See `ports.Conversations`."""
        await self._state.run(WRITE, [self._state.names.of("conversation", key)], [sealed, seconds * 1000], self._state.until())
