"""Rate limits: which allowances a request draws on, those that nodes share, or this worker's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from router.errors import RefusedError, StateError
from router.ports import Allowances, Draw, Limits

LONGEST_WAIT = 3600.0
UNAVAILABLE = "limits_unavailable"


@dataclass(frozen=True, slots=True)
class Limit:
    """`own` counts in this worker, by its share. `rate` a second and `burst` are the whole."""

    name: str
    rate: float
    burst: float
    own: Limits


class Limiting:
    """`shared` is None where every node counts for itself. `deny`: what happens when it does not answer."""

    def __init__(self, shared: Allowances | None = None, *, deny: bool = False) -> None:
        self._shared = shared
        self._deny = deny

    async def draw(self, drawn: Sequence[tuple[Limit, str]]) -> tuple[int, float] | None:
        """Draws on one after the other until one refuses. What earlier ones gave stays taken: a refused request also counts. None, or which
        refuses, and in how many seconds it would not, at most an hour. Raises RefusedError where that cannot be known now."""
        if not drawn:
            return None
        if self._shared is not None:
            try:
                return _bounded(await self._shared.draw([Draw(f"{limit.name} {key}", limit.rate, limit.burst) for limit, key in drawn]))
            except StateError:
                if self._deny:
                    raise RefusedError("Requests cannot be counted now, and there are limits.", UNAVAILABLE, 503, 1) from None
        for place, (limit, key) in enumerate(drawn):
            wait = await limit.own.admit(key)
            if wait is not None:
                return _bounded((place, wait))
        return None


def _bounded(over: tuple[int, float] | None) -> tuple[int, float] | None:
    return None if over is None else (over[0], min(over[1], LONGEST_WAIT))
