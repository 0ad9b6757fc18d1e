"""Policies that may decide only until a time, unless that is moved on: the last good ones are not good for ever."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from router.decision import Verdict
from router.errors import PolicyError
from router.ports import Intents, PolicyEngine
from router.stages.wrapping import Wrapping


class Lapse:
    """`until` on the clock of who moves it; None for no end."""

    __slots__ = ("clock", "until")

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.until: float | None = None


class Lapsing(Wrapping):
    """An engine that denies with `policy_stale` once the time is over."""

    def __init__(self, engine: PolicyEngine, lapse: Lapse) -> None:
        super().__init__(engine)
        self._lapse = lapse

    def afresh(self) -> Lapsing:
        """As the engine's own."""
        made = getattr(self._engine, "afresh", None)
        return Lapsing(made() if made is not None else self._engine, self._lapse)

    async def evaluate(self, entry: str, intent: Intents, document: Mapping[str, Any]) -> Verdict:
        until = self._lapse.until
        if until is not None and self._lapse.clock() > until:
            raise PolicyError("The policies are older than they may be, and their source confirms them no more.", "policy_stale")
        return await self._engine.evaluate(entry, intent, document)
