"""What nodes have found out about names, for good: one hash, a field for each name."""

from __future__ import annotations

from collections.abc import Mapping

from adapters.redis_state.failures import UNUSABLE
from adapters.redis_state.state import RedisState
from router.errors import StateError


class RedisMarks:
    """Implements `ports.Marks`. Names stand there as they are."""

    def __init__(self, state: RedisState, kind: str) -> None:
        self._state = state
        self._key = state.names.of("marks", kind)

    async def find(self, name: str) -> bytes | None:
        """See `ports.Marks`."""
        found = await self._state.ask(self._key, "HGET", self._key, name, until=self._state.until())
        return None if found is None else bytes(found)

    async def put(self, name: str, told: bytes) -> None:
        """See `ports.Marks`."""
        await self._state.ask(self._key, "HSET", self._key, name, told, until=self._state.until())

    async def remove(self, name: str) -> None:
        """See `ports.Marks`."""
        await self._state.ask(self._key, "HDEL", self._key, name, until=self._state.until())

    async def all(self) -> Mapping[str, bytes]:
        """See `ports.Marks`."""
        found = await self._state.ask(self._key, "HGETALL", self._key, until=self._state.until())
        try:
            parts = [bytes(each) for each in found]
            return {name.decode(): told for name, told in zip(parts[::2], parts[1::2], strict=True)}
        except (TypeError, ValueError) as error:
            raise StateError("Redis answered with something that is no mark of ours.", UNUSABLE) from error
