"""Everything that nodes keep together on Redis, by one connection of each worker."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from adapters.redis_state.answers import RedisAnswers
from adapters.redis_state.circuits import RedisCircuits
from adapters.redis_state.conversations import RedisConversations
from adapters.redis_state.limits import RedisAllowances
from adapters.redis_state.marks import RedisMarks
from adapters.redis_state.quotas import RedisQuotas
from adapters.redis_state.repeats import RedisRepeats
from adapters.redis_state.state import RedisState, secrets
from adapters.redis_state.tallies import RedisTallies
from router.config.shared_state import RedisSettings
from router.ports import AnswerObserver, StateObserver
from router.system import SystemClock


class Observer(StateObserver, AnswerObserver, Protocol): ...


class Kept:
    def __init__(self, state: RedisState, key: bytes = b"", former: bytes | None = None, answers: RedisAnswers | None = None) -> None:
        """`key` is the nodes' common secret, `former` the one before; without one no answer of an upstream is kept."""
        self._state = state
        self.conversations = RedisConversations(state)
        self.repeats = RedisRepeats(state, key, former) if key else None
        self.allowances = RedisAllowances(state)
        self.quotas = RedisQuotas(state)
        self.answers = answers
        self.circuits = RedisCircuits(state)
        self.tallies = RedisTallies(state)
        self.endpoints = RedisMarks(state, "endpoints")

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


def build(settings: RedisSettings, root: Path, observer: Observer) -> Kept:
    """Raises ConfigError."""
    key, former = secrets(settings, root)
    state, wanted = RedisState(settings, root, observer), settings.classifications
    if wanted is None or not key:
        return Kept(state, key, former)
    return Kept(state, key, former, RedisAnswers(state, key, wanted.wait, wanted.keep, SystemClock(), observer))
