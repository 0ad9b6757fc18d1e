"""Everything that nodes keep together on Redis, by one connection of each worker."""

from __future__ import annotations

from pathlib import Path

from adapters.redis_state.circuits import RedisCircuits
from adapters.redis_state.conversations import RedisConversations
from adapters.redis_state.limits import RedisAllowances
from adapters.redis_state.quotas import RedisQuotas
from adapters.redis_state.repeats import RedisRepeats
from adapters.redis_state.state import RedisState
from router.config.shared_state import RedisSettings
from router.ports import StateObserver


class Kept:
    def __init__(self, state: RedisState, key: bytes | None = None) -> None:
        """`key` is the nodes' common secret; without one no answer of an upstream is kept."""
        self._state = state
        self.conversations = RedisConversations(state)
        self.repeats = RedisRepeats(state, key) if key is not None else None
        self.allowances = RedisAllowances(state)
        self.quotas = RedisQuotas(state)
        self.circuits = RedisCircuits(state)

    @property
    def problem(self) -> str | None:
        return self._state.problem

    async def open(self) -> None:
        await self._state.open()

    async def close(self) -> None:
        await self._state.close()

    async def ping(self) -> None:
        """Raises StateError."""
        await self._state.ping()


def build(settings: RedisSettings, root: Path, observer: StateObserver) -> Kept:
    """Raises ConfigError."""
    key = settings.key.reveal(root).encode() if settings.key is not None else None
    return Kept(RedisState(settings, root, observer), key)
