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
        self._keys = state.names.each("marks", kind)

    async def find(self, name: str) -> bytes | None:
        """See `ports.Marks`."""
        for key in reversed(self._keys):
            found = await self._state.ask(key, "HGET", key, name, until=self._state.until())
            if found is not None:
                return bytes(found)
        return None

    async def put(self, name: str, told: bytes) -> None:
        """See `ports.Marks`."""
        for key in self._keys:
            await self._state.ask(key, "HSET", key, name, told, until=self._state.until())

    async def remove(self, name: str) -> None:
        """See `ports.Marks`."""
        for key in self._keys:
            await self._state.ask(key, "HDEL", key, name, until=self._state.until())

    async def all(self) -> Mapping[str, bytes]:
        """See `ports.Marks`."""
        found = [await self._state.ask(key, "HGETALL", key, until=self._state.until()) for key in self._keys]
        try:
            each = [[bytes(part) for part in parts] for parts in found]
            return {name.decode(): told for parts in each for name, told in zip(parts[::2], parts[1::2], strict=True)}
        except (TypeError, ValueError) as error:
            raise StateError("Redis answered with something that is no mark of ours.", UNUSABLE) from error
