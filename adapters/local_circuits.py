"""What processes tell each other of upstreams that fail, within one process: the twin of what is on Redis."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from router.ports import Clock, Posted, Telling, Told

SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Kept:
    open: bool
    until: float
    who: str
    version: int


class LocalCircuits:
    """Implements `ports.CircuitBoard`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, Kept] = {}
        self._versions = itertools.count(1)

    async def exchange(self, who: str, tellings: Sequence[Telling], names: Sequence[str]) -> Mapping[str, Posted]:
        """See `ports.CircuitBoard`."""
        now = self._clock.monotonic_ns() / SECOND
        for each in tellings:
            self._tell(who, each, now)
        found = {name: kept for name in names if (kept := self._kept.get(name)) is not None}
        return {name: Posted(kept.open, max(0.0, kept.until - now), kept.who, kept.version) for name, kept in found.items()}

    def _tell(self, who: str, telling: Telling, now: float) -> None:
        before, until = self._kept.get(telling.name), now + telling.lasts
        if telling.what is Told.CLOSED:
            self._kept[telling.name] = Kept(False, until, who, next(self._versions))
        elif telling.what is Told.PROBE and before is not None and before.open and before.who == who:
            self._kept[telling.name] = Kept(True, until, who, before.version)
        elif telling.what is Told.PROBE or before is None or not before.open or before.until <= now:
            self._kept[telling.name] = Kept(True, until, who, next(self._versions))
        elif before.who == who:
            self._kept[telling.name] = Kept(True, max(before.until, until), who, before.version)
