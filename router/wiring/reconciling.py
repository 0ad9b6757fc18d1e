"""Reconciliation for the control API: part by part, on a thread and connections of its own, so that questions need not wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from adapters.sqlite.index import INDEX_FILE, SqliteIndex
from router.audit.copies.reconcile import Mismatch, Reconciliation, Scan
from router.audit.questions.reader import LedgerReader
from router.audit.questions.reading import EVENT, Reading
from router.control.services import Json, Page
from router.cursors import place_after
from router.ports import Clock
from router.workspace import Workspace

ROWS = 20_000  # records that one request looks at: less than half a second's work where all fits


class Subjects(Protocol):
    async def key_for(self, subject: str) -> tuple[str, bytes]: ...


class SystemRecords(Protocol):
    async def system(self, event: str, details: Mapping[str, Any]) -> None: ...


def promises(workspace: Workspace) -> dict[str, float]:
    """Seconds within which a route's service owes evidence, by route."""
    return {name: route.evidence.within for name, route in workspace.catalog.routes.items() if route.evidence is not None}


@dataclass(slots=True)
class _Files:
    reader: LedgerReader
    index: SqliteIndex


class Reconciling:
    """Implements the control API's reconciler. Each part is itself recorded as a reading."""

    def __init__(
        self,
        open_reader: Callable[[], LedgerReader],
        state: Path,
        workspace: Callable[[], Workspace],
        subjects: Subjects,
        records: SystemRecords,
        clock: Clock,
    ) -> None:
        self._open_reader = open_reader
        self._state = state
        self._workspace = workspace
        self._subjects = subjects
        self._records = records
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "reconciliation")
        self._files: _Files | None = None

    async def reconcile(self, cursor: str | None, grace: float, reader: str) -> Page:
        after = place_after(cursor)
        scan = await asyncio.get_running_loop().run_in_executor(self._thread, self._scan, after, grace)
        key_id, _ = await self._subjects.key_for(reader)
        await self._records.system(EVENT, Reading("reconciliation", rows=len(scan.found)).details(key_id))
        return Page([document(one) for one in scan.found], None if scan.after is None else str(scan.after), scan.complete)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _scan(self, after: int | None, grace: float) -> Scan:
        if self._files is None:
            self._files = _Files(self._open_reader(), SqliteIndex(self._state / INDEX_FILE))
        owed = promises(self._workspace())
        return Reconciliation(self._files.reader, self._files.index, owed, self._clock.now_ns(), grace).scan(after, ROWS)

    def _close(self) -> None:
        if self._files is not None:
            self._files.reader.close()
            self._files.index.close()


def document(one: Mismatch) -> Json:
    return {
        "kind": one.kind,
        "record": one.index,
        "time": one.time,
        "decision_id": one.decision_id,
        "message": one.message,
        "query": one.query,
    }
