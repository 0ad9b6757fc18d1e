"""Reviewers' decisions as opinions, read from the ledger after the fact: no review waits for it, and none fails because of it.

1 steps are read from where it stopped; 2 what they say is put, under the name of who took them and with the time of the step; 3 the place
is put. A crash before 1 or 2 loses nothing, for the steps are in the ledger; between 2 and 3 the same is done once more and changes
nothing, and so it is by two nodes at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from router.adaptation.feedback import FeedbackService, Heard
from router.adaptation.keeping import Keeping
from router.ports import Clock, Lesson

log = logging.getLogger("lockgate.learning")
CURSOR, THE_ONE = "overrides", "cursor"
MANY = 200
REASONS = {"rejected": "misrouted", "rerouted": "rerouted", "modified": "modified"}
"""Of events of reviews, which say something of the intent where their record has an `opinion`."""


@dataclass(frozen=True, slots=True)
class Step:
    """Record `record` of the ledger; `heard` is None where it says nothing, or can no longer be opened."""

    record: int
    heard: Heard | None


class Trail(Protocol):
    async def size(self) -> int: ...

    async def steps_after(self, record: int, limit: int) -> Sequence[Step]:
        """Events of `REASONS`, in the ledger's order."""


class Overrides:
    """`wanted`: whether what reviewers decide counts."""

    def __init__(self, keeping: Keeping, trail: Trail, feedback: FeedbackService, clock: Clock, wanted: Callable[[], bool]) -> None:
        self._keeping = keeping
        self._trail = trail
        self._feedback = feedback
        self._clock = clock
        self._wanted = wanted

    async def round(self) -> None:
        """Raises AuditError, StateError."""
        if not self._wanted():
            return
        known = await self._keeping.store.get(CURSOR, THE_ONE)
        if known is None:  # what was decided before anybody wanted it teaches nothing
            await self._keep(await self._trail.size() - 1, 0)
            return
        after, version = int(known.terms["after"]), known.version
        while steps := await self._trail.steps_after(after, MANY):  # 1
            for step in steps:
                if step.heard is not None:
                    await self._hear(step.heard)  # 2
            after = steps[-1].record
            if not await self._keep(after, version):  # 3
                return  # another node was quicker
            version += 1

    async def _hear(self, heard: Heard) -> None:
        said = await self._feedback.hear(heard)
        if said != "taken":
            log.info("what was decided about the held request %s says nothing of its intent: %s", heard.decision_id, said)

    async def _keep(self, after: int, version: int) -> bool:
        lesson = Lesson(CURSOR, THE_ONE, "", "", self._clock.now_ns(), {"after": after}, version=version)
        return await self._keeping.store.put(lesson, [], "", 0)
