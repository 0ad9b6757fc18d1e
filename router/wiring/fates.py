"""How deliveries stand or ended, asked of the outbox and, for what waits no more, of the ledger; in the control process.

On a thread of its own, with files of its own: neither records nor an auditor's questions wait for callers who ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Protocol

from adapters.sqlite.index import INDEX_FILE, SqliteIndex
from router.audit.beside import Waiting
from router.audit.outbox import Outbox
from router.audit.questions.query import Query, Trail
from router.audit.questions.reader import LedgerReader, Stored
from router.delivery.fates import Fate, recorded, waiting
from router.errors import AuditError
from router.ports import Clock
from router.wiring.ledger_place import ledger_place
from router.workspace import Workspace

MOST_AT_ONCE = 256


class Waitings(Protocol):
    async def find(self, delivery_id: str) -> Waiting | None:
        """Raises AuditError."""


class LedgerFates:
    def __init__(self, outbox: Waitings, open_reader: Callable[[], LedgerReader], state: Path, clock: Clock) -> None:
        self._outbox = outbox
        self._open_reader = open_reader
        self._state = state
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "delivery-fates")
        self._files: tuple[LedgerReader, SqliteIndex] | None = None
        self._asking = 0

    async def fate(self, decision_id: str) -> Fate | None:
        """None where there is no such decision. Raises AuditError. What has just ended is looked for where it waited first: its row goes
        in the transaction that brings the record."""
        found = await self._outbox.find(decision_id)
        if found is not None:
            return waiting(found, self._clock.now_ns())
        if self._asking >= MOST_AT_ONCE:  # an index that is made anew takes long, and who asks again and again must not fill our memory
            raise AuditError("Too many ask how deliveries ended.", "audit_busy")
        self._asking += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._recorded, decision_id)
        finally:
            self._asking -= 1

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _recorded(self, decision_id: str) -> Fate | None:
        if self._files is None:
            self._files = self._open_reader(), SqliteIndex(self._state / INDEX_FILE)
        story = Trail(*self._files).find(Query(decision_id=decision_id), newest=False)
        return recorded(decision_id, [(each.leaf, each.columns.get("key_id") or "") for each in story])

    def _close(self) -> None:
        for each in self._files or ():
            each.close()


def make_fates(workspace: Workspace, outbox: Outbox, clock: Clock) -> LedgerFates:
    return LedgerFates(outbox, partial(ledger_place(workspace).reader, Stored), workspace.path(workspace.config.state), clock)
