"""What the control API asks of the audit trail, answered from the ledger's files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from adapters.sqlite_index import SqliteIndex
from router.audit.bundle import Bundles
from router.audit.canonical import timestamp
from router.audit.checkpoint import Checkpoint, latest_witnessed, note_checkpoint
from router.audit.query import Found, Proven, Query, Trail
from router.audit.reader import LedgerReader, Stored
from router.control.services import AuditFilters, Json, Page
from router.errors import AuditError, RefusedError
from router.wiring.ledger_place import ledger_place
from router.workspace import Workspace

T = TypeVar("T")
INDEX_FILE = "index.sqlite"


class SystemRecords(Protocol):
    async def system(self, event: str, details: Mapping[str, Any]) -> None: ...


class SubjectLookup(Protocol):
    async def find(self, subject: str) -> str | None:
        """The key id of a subject that the ledger knows."""

    async def key_for(self, subject: str) -> tuple[str, bytes]: ...


class AuditQuestions:
    """Implements the control API's audit port over the ledger and this node's index, on one thread; every answer is itself recorded."""

    def __init__(self, workspace: Workspace, subjects: SubjectLookup, records: SystemRecords) -> None:
        self._state = workspace.path(workspace.config.state)
        self._place = ledger_place(workspace)
        audit = workspace.config.audit
        self._witnessed = workspace.path(audit.checkpoint.directory) if audit.witnesses is not None else None
        self._subjects = subjects
        self._records = records
        self._thread = ThreadPoolExecutor(1, "audit-questions")
        self._trail: Trail | None = None
        self._reader: LedgerReader | None = None
        self._index: SqliteIndex | None = None

    async def query(self, filters: AuditFilters, cursor: str | None, limit: int, reader: str) -> Page:
        key_id = await self._subjects.find(filters.subject) if filters.subject is not None else None
        if filters.subject is not None and key_id is None:
            return Page([], None, None)
        query = _query(filters, key_id)
        page = await self._run(lambda trail: trail.page(query, _cursor(cursor), limit, filters.newest_first))
        await self._noted(reader, "records", len(page.rows))
        return Page([_row(found) for found in page.rows], None if page.cursor is None else str(page.cursor), page.complete)

    async def show(self, decision_id: str, reader: str) -> Json | None:
        try:
            story = await self._run(lambda trail: trail.show(decision_id))
        except AuditError as error:
            if error.code == "decision_unknown":
                return None
            raise
        await self._noted(reader, "decision", len(story))
        return {"decision_id": decision_id, "records": [_proven(each) for each in story]}

    async def bundle(self, decision_id: str, outside: str | None, reader: str) -> Json | None:
        known = _kept(outside)
        try:
            made = await self._run(lambda trail: Bundles(self._ledger(), trail).bundle(decision_id, known))
        except AuditError as error:
            if error.code == "decision_unknown":
                return None
            raise
        await self._noted(reader, "bundle", len(made["records"]))
        return made

    async def record(self, event: str, details: Mapping[str, Any]) -> None:
        """What administrators do. Raises AuditError."""
        await self._records.system(event, details)

    async def checkpoint(self) -> Json:
        note, witnessed = await asyncio.get_running_loop().run_in_executor(self._thread, self._latest)
        if note is None:
            raise AuditError("No checkpoint has been signed yet.", "checkpoint_missing")
        found = note_checkpoint(note)
        answer = {"origin": found.origin, "size": found.size, "root": found.root.hex(), "note": note}
        if self._witnessed is None:
            return answer
        return {**answer, "witnessed": None if witnessed is None else {"size": note_checkpoint(witnessed).size, "note": witnessed}}

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    async def _noted(self, reader: str, what: str, rows: int) -> None:
        """The reader stands in the ledger under the id of its key: who it is can be told, and erased, like any subject's."""
        key_id, _ = await self._subjects.key_for(reader)
        await self._records.system("audit_read", {"what": what, "rows": rows, "reader_key": key_id})

    async def _run(self, question: Callable[[Trail], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: question(self._opened()))

    def _opened(self) -> Trail:
        if self._trail is None:
            self._trail = Trail(self._ledger(), self._opened_index())
        return self._trail

    def _ledger(self) -> LedgerReader:
        if self._reader is None:
            self._reader = self._place.reader(Stored)
        return self._reader

    def _opened_index(self) -> SqliteIndex:
        if self._index is None:
            self._index = SqliteIndex(self._state / INDEX_FILE)
        return self._index

    def _latest(self) -> tuple[str | None, str | None]:
        """The newest checkpoint, and the newest that enough witnesses confirmed."""
        return self._ledger().latest_checkpoint(), latest_witnessed(self._witnessed) if self._witnessed is not None else None

    def _close(self) -> None:
        for each in (self._reader, self._index):
            if each is not None:
                each.close()


def _query(filters: AuditFilters, key_id: str | None) -> Query:
    return Query(
        since=None if filters.since_ns is None else timestamp(filters.since_ns),
        until=None if filters.until_ns is None else timestamp(filters.until_ns),
        key_id=key_id,
        intent=filters.intent,
        route=filters.route,
        effect=filters.effect,
        reason=filters.reason,
        risk=filters.risk,
        tenant=filters.tenant,
        kind=filters.kind,
        result=filters.result,
        min_confidence=filters.min_confidence,
        max_confidence=filters.max_confidence,
        decision_id=filters.decision_id,
        trace_id=filters.trace_id,
    )


def _cursor(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not cursor.isdigit():
        raise RefusedError("The cursor is not one that this API gave.", "request_invalid", 400)
    return int(cursor)


def _kept(note: str | None) -> Checkpoint | None:
    try:
        return None if note is None else note_checkpoint(note)
    except AuditError as error:
        raise RefusedError(str(error), error.code, 400) from error


def _row(found: Found) -> Json:
    return {"index": found.index, "sealed": found.sealed, "leaf": found.leaf}


def _proven(proven: Proven) -> Json:
    return {**_row(proven.found), "checkpoint": proven.checkpoint, "inclusion": [step.hex() for step in proven.proof]}
