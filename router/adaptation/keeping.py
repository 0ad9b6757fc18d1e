"""What is learnt is durable in the store first, with the records that say so; then these go into the ledger, once.

A crash between the two leaves records that wait: the next round of this node appends them, or another node's once their lease is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from router.errors import AuditError
from router.ports import Clock, Entry, Lesson, Lessons

LEASE_NS = 60 * 1_000_000_000
MANY = 200
ROUND_S = 5.0
UNRECORDED = "learning_unrecorded"


class Ledger(Protocol):
    async def append_many(self, entries: Sequence[Entry]) -> list[int]: ...

    async def ping(self) -> None: ...


class Keeping:
    """`owner` names this start of this node."""

    def __init__(self, store: Lessons, ledger: Ledger, clock: Clock, owner: str) -> None:
        self.store = store
        self._ledger = ledger
        self._clock = clock
        self._owner = owner
        self._one_at_a_time = asyncio.Lock()

    async def ping(self) -> None:
        """Whether something could be recorded now: who asks is told before, and not after. Raises AuditError."""
        await self._ledger.ping()

    async def append(self, entries: Sequence[Entry]) -> None:
        """Records about nothing that is kept here. Raises AuditError."""
        await self._ledger.append_many(entries)

    async def put(self, lesson: Lesson, entries: Sequence[Entry]) -> bool:
        """False where somebody else was quicker. Durable and recorded when it returns. Raises StateError; AuditError for what is kept and
        has yet to be recorded."""
        if not await self.store.put(lesson, entries, self._owner, self._clock.now_ns() + LEASE_NS):
            return False
        await self.settle(lesson.kind, lesson.id)
        return True

    async def settle(self, kind: str, lesson_id: str) -> None:
        """Returns when everything about this lesson is in the ledger. Raises AuditError, StateError."""
        try:
            await self.record()
        except AuditError as error:
            raise AuditError(f"It is kept, and has no effect before it is recorded: {error}", error.code) from error
        if await self.store.waiting(kind, lesson_id):
            raise AuditError("It is kept, and another node has yet to record it.", UNRECORDED)

    async def record(self) -> None:
        """Appends what waits here. Raises AuditError, StateError."""
        async with self._one_at_a_time:
            while True:
                now_ns = self._clock.now_ns()
                found = await self.store.unrecorded(self._owner, now_ns, now_ns + LEASE_NS, MANY)
                if not found:
                    return
                await self._ledger.append_many([entry for _, entry in found])
                await self.store.recorded([number for number, _ in found])  # a crash before it: the same bytes once more
