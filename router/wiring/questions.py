"""What the control API asks of the audit trail, answered from the ledger's files."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import islice
from tempfile import TemporaryFile
from typing import Any, BinaryIO, Protocol, TypeVar

from adapters.sqlite.index import INDEX_FILE, SqliteIndex
from router.audit.checking.answers import certificate
from router.audit.checking.bundle import Bundles
from router.audit.checking.certificate import IMPOSSIBLE
from router.audit.checking.lookup import MISSING
from router.audit.lookups.upkeep import Sections
from router.audit.questions.columns import NS, RECORD
from router.audit.questions.conditions import Compare
from router.audit.questions.index import FAR, behind, catch_up
from router.audit.questions.query import Found, Proven, Query, Trail, by_default
from router.audit.questions.reader import KeyLookup, LedgerReader, Stored
from router.audit.questions.reading import EVENT, Reading, told_id
from router.audit.questions.saved import FILE, saved_queries
from router.audit.questions.stats import Grouping, grouping
from router.audit.questions.where import WhereError, where
from router.audit.records.canonical import timestamp
from router.audit.tree.checkpoint import Checkpoint, latest_witnessed, note_checkpoint
from router.control.services import AuditFilters, Json, Opening, Page
from router.cursors import place_after
from router.errors import AuditError, LockgateError, RefusedError
from router.settings import span
from router.wiring.indexing import FOLDER, GivingWay
from router.wiring.ledger_place import ledger_place
from router.workspace import Workspace

log = logging.getLogger("lockgate.audit")
T = TypeVar("T")
MASK = "***"
LONGEST_S = 1e9
NOBODY = ""  # no key has this id
MOST_BYTES = 2**28  # of a certificate over HTTP


class SystemRecords(Protocol):
    async def system(self, event: str, details: Mapping[str, Any]) -> None: ...


class SubjectLookup(Protocol):
    async def find(self, subject: str) -> str | None:
        """The key id of a subject that the ledger knows."""

    async def key_for(self, subject: str) -> tuple[str, bytes]: ...

    async def key(self, key_id: str) -> bytes | None: ...


class AuditQuestions:
    """Implements the control API's audit port over the ledger and this node's index, on one thread; every answer is itself
    recorded, before it is given."""

    def __init__(self, workspace: Workspace, subjects: SubjectLookup, records: SystemRecords) -> None:
        self._state = workspace.path(workspace.config.state)
        self._saved = workspace.path(FILE)
        self._place = ledger_place(workspace)
        audit = workspace.config.audit
        self._witnessed = workspace.path(audit.checkpoint.directory) if audit.witnesses is not None else None
        self._subjects = subjects
        self._records = records
        self._thread = ThreadPoolExecutor(1, "audit-questions")
        self._files: tuple[LedgerReader, SqliteIndex] | None = None
        self._trails: dict[bool, Trail] = {}
        self._preparing = False
        self._stopping = threading.Event()

    async def query(
        self, filters: AuditFilters, cursor: str | None, limit: int, reader: str, newest_first: bool = True, opening: Opening = "none"
    ) -> Page:
        query = await self._query(filters)
        return await self._page(query, place_after(cursor), limit, reader, newest_first, opening)

    async def newer(self, filters: AuditFilters, after: int, limit: int, reader: str) -> Page | None:
        query = (await self._query(filters)).also(Compare(RECORD.name, ">", after))
        page = await self._run(lambda: self._trail().page(query, None, limit))
        if not page.rows:
            return None
        told = await self._run(lambda: self._trail().told(query))
        await self._noted(reader, Reading("records", told, len(page.rows)))
        return Page([_row(found, "none") for found in page.rows], None, page.complete)

    async def statistics(self, filters: AuditFilters, by: Sequence[str], bucket: str | None, reader: str) -> Json:
        return await self._counted(by_default(await self._query(filters)), _grouping(by, bucket), reader)

    async def distribution(self, filters: AuditFilters, by: str, bins: int, reader: str) -> Json:
        query = by_default(await self._query(filters))
        found = await self._run(lambda: _refusing(lambda: self._trail().distribution(query, by, bins)))
        told = await self._run(lambda: self._trail().told(query))
        await self._noted(reader, Reading("stats", f"{told} by confidence, {found.by}", found.count))
        return found.document()

    async def saved(self) -> Sequence[Json]:
        found = await self._run(lambda: saved_queries(self._saved))
        return [{"name": name, **saved.model_dump(mode="json", exclude_defaults=True)} for name, saved in found.items()]

    async def ask(
        self, name: str, given: Mapping[str, str], cursor: str | None, limit: int, reader: str, opening: Opening = "none"
    ) -> Json:
        known = await self._run(lambda: saved_queries(self._saved))
        if name not in known:
            raise RefusedError("There is no saved query of that name.", "not_found", 404)
        saved = known[name]
        if saved.where is None:
            return {"question": saved.question, "instead": saved.instead}
        query = saved.query(_refusing(lambda: saved.condition(given)))
        if saved.aggregated:
            return await self._counted(query, saved.grouping(), reader)
        page = await self._page(query, place_after(cursor), limit, reader, True, opening)
        return {"records": page.items, "next": page.next, "complete_to": page.complete_to}

    async def show(self, identifier: str, reader: str, opening: Opening = "none") -> Json | None:
        keys = self._keys(opening)
        try:
            story = await self._run(lambda: self._trail(keys).show(identifier))
        except AuditError as error:
            if error.code == "decision_unknown":
                return None
            raise
        await self._noted(reader, Reading("decision", told_id(identifier), len(story), opening == "opened"))
        return {"decision_id": story[0].found.columns["decision_id"], "records": [_proven(each, opening) for each in story]}

    async def bundle(self, decision_id: str, outside: str | None, reader: str) -> Json | None:
        known = _kept(outside)
        try:
            made = await self._run(lambda: Bundles(self._opened()[0], self._trail()).bundle(decision_id, known))
        except AuditError as error:
            if error.code == "decision_unknown":
                return None
            raise
        await self._noted(reader, Reading("bundle", told_id(decision_id), len(made["records"])))
        return made

    async def certificate(self, filters: AuditFilters, reader: str, opening: Opening = "none") -> BinaryIO:
        query, keys = await self._query(filters), self._keys(opening)
        told = await self._run(lambda: self._trail().told(query))
        try:
            file, lines = await asyncio.to_thread(self._written, query, keys)
        except AuditError as error:
            if error.code not in (IMPOSSIBLE, MISSING):
                raise
            raise RefusedError(str(error), error.code, 409) from None
        try:
            await self._noted(reader, Reading("certificate", told, lines, opening == "opened"))
        except BaseException:
            file.close()
            raise
        return file

    async def prepare(self) -> None:
        """Makes an index that is not there, or is far behind, on a thread and with files of its own, giving way to who takes records in.
        Meanwhile questions are refused, and nobody is kept waiting for minutes."""
        try:
            await asyncio.to_thread(self._prepared)
        except LockgateError as error:
            log.error("the index of the audit trail cannot be made: %s", error)
        finally:
            self._stopping.set()  # the thread goes on when nobody waits for it

    async def decisions_query(self, filters: AuditFilters) -> tuple[Query, str]:
        """Of decisions alone, and as text that may stand in a record."""
        query = replace(await self._query(filters), kind="decision")
        return query, await self._run(lambda: self._trail().told(query))

    async def note(self, reader: str, reading: Reading) -> None:
        """For who reads `decisions`, before they are read. Raises AuditError."""
        await self._noted(reader, reading)

    async def decisions(self, query: Query, size: int) -> AsyncGenerator[list[Found], None]:
        """Some at a time with their personal fields opened, the oldest first. On a thread and with files of its own, for it may take long;
        to be closed."""
        keys, loop = self._keys("opened"), asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "audit-decisions") as thread:
            stack = ExitStack()
            try:
                found = await loop.run_in_executor(thread, lambda: self._found(stack, query, keys))
                while batch := await loop.run_in_executor(thread, lambda: list(islice(found, size))):
                    yield batch
            finally:
                await loop.run_in_executor(thread, stack.close)

    def _found(self, stack: ExitStack, query: Query, keys: KeyLookup | None) -> Iterator[Found]:
        reader = stack.enter_context(closing(self._place.reader(Stored)))
        index = stack.enter_context(closing(SqliteIndex(self._state / INDEX_FILE)))
        return Trail(reader, index, keys).find(query, newest=False)

    async def pseudonym(self, subject: str) -> str:
        """The id of somebody's key, by which they stand in the ledger. Raises AuditError."""
        return (await self._subjects.key_for(subject))[0]

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

    async def _page(self, query: Query, cursor: int | None, limit: int, reader: str, newest: bool, opening: Opening) -> Page:
        keys = self._keys(opening)
        page = await self._run(lambda: self._trail(keys).page(query, cursor, limit, newest))
        told = await self._run(lambda: self._trail().told(query))
        await self._noted(reader, Reading("records", told, len(page.rows), opening == "opened"))
        return Page([_row(found, opening) for found in page.rows], None if page.cursor is None else str(page.cursor), page.complete)

    async def _counted(self, query: Query, groups: Grouping, reader: str) -> Json:
        found = await self._run(lambda: self._trail().statistics(query, groups))
        told = await self._run(lambda: self._trail().told(query))
        await self._noted(reader, Reading("stats", f"{told} by {', '.join(groups.by) or 'nothing'}", found.count))
        return found.document()

    async def _query(self, filters: AuditFilters) -> Query:
        key_id = await self._subjects.find(filters.subject) if filters.subject is not None else None
        unknown = filters.subject is not None and key_id is None
        return _refusing(lambda: _query(filters, NOBODY if unknown else key_id))

    async def _noted(self, reader: str, reading: Reading) -> None:
        """The reader stands in the ledger under the id of its key: who it is can be told, and erased, like any subject's."""
        key_id, _ = await self._subjects.key_for(reader)
        await self._records.system(EVENT, reading.details(key_id))

    async def _run(self, question: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, question)

    def _keys(self, opening: Opening) -> KeyLookup | None:
        """Asked on the questions' thread, answered on the loop, which owns the subjects' keys."""
        loop = asyncio.get_running_loop()
        return (lambda key_id: asyncio.run_coroutine_threadsafe(self._subjects.key(key_id), loop).result()) if opening == "opened" else None

    def _trail(self, keys: KeyLookup | None = None) -> Trail:
        """One that opens personal fields, and one that does not. Raises AuditError `audit_indexing`."""
        self._refused_while_preparing()
        if (keys is not None) not in self._trails:
            self._trails[keys is not None] = Trail(*self._opened(), keys)
        return self._trails[keys is not None]

    def _prepared(self) -> None:
        with closing(self._place.reader(Stored)) as reader, closing(SqliteIndex(self._state / INDEX_FILE)) as index:
            if behind(reader, index) > FAR:
                self._preparing = True
                try:
                    catch_up(reader, index, self._while_it_runs(GivingWay()))
                finally:
                    self._preparing = False

    def _while_it_runs(self, way: Callable[[], None]) -> Callable[[], None]:
        def breathe() -> None:
            if self._stopping.is_set():
                raise AuditError("Lockgate is stopping.", "audit_closed")
            way()

        return breathe

    def _refused_while_preparing(self) -> None:
        """Raises AuditError `audit_indexing`."""
        if self._preparing and (left := behind(*self._opened())) > FAR:
            raise AuditError(
                f"The index of the audit trail is being made; {left:,} records are still to go. Ask again later.", "audit_indexing"
            )

    def _opened(self) -> tuple[LedgerReader, SqliteIndex]:
        if self._files is None:
            self._files = self._place.reader(Stored), SqliteIndex(self._state / INDEX_FILE)
        return self._files

    def _written(self, query: Query, keys: KeyLookup | None) -> tuple[BinaryIO, int]:
        """(the file, its lines). With files of its own, for it may take long."""
        with closing(self._place.reader(Stored)) as reader, closing(SqliteIndex(self._state / INDEX_FILE)) as index:
            file, size, count = TemporaryFile(dir=self._state), 0, 0  # noqa: SIM115  # it is given to who asked
            try:
                for line in certificate(Sections(reader, index, self._state / FOLDER), query, keys):
                    size, count = size + file.write(line), count + 1
                    if size > MOST_BYTES:
                        raise RefusedError("The certificate is larger than this API gives; narrow it down.", "certificate_too_large", 413)
                file.seek(0)
            except BaseException:
                file.close()
                raise
        return file, count

    def _latest(self) -> tuple[str | None, str | None]:
        """The newest checkpoint, and the newest that enough witnesses confirmed."""
        return self._opened()[0].latest_checkpoint(), latest_witnessed(self._witnessed) if self._witnessed is not None else None

    def _close(self) -> None:
        for each in self._files or ():
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
        where=None if filters.where is None else where(filters.where),
    )


def _grouping(by: Sequence[str], bucket: str | None) -> Grouping:
    try:
        length = None if bucket is None else int(min(span(bucket), LONGEST_S) * NS)
    except ValueError as error:
        raise RefusedError(f"The bucket {error}.", "audit_query_invalid", 400) from None
    return _refusing(lambda: grouping(by, length))


def _refusing(make: Callable[[], T]) -> T:
    try:
        return make()
    except WhereError as error:
        raise RefusedError(str(error), error.code, 400) from None


def _kept(note: str | None) -> Checkpoint | None:
    try:
        return None if note is None else note_checkpoint(note)
    except AuditError as error:
        raise RefusedError(str(error), error.code, 400) from error


def _row(found: Found, opening: Opening) -> Json:
    row: dict[str, Any] = {"index": found.index, "sealed": found.sealed, "leaf": found.leaf, "columns": found.columns}
    if opening == "masked":
        row.update(
            sealed="masked" if found.sealed == "sealed" else found.sealed, personal=dict.fromkeys(found.leaf.get("commitments", ()), MASK)
        )
    elif opening == "opened":
        row["personal"] = found.personal
    return row


def _proven(proven: Proven, opening: Opening) -> Json:
    return {**_row(proven.found, opening), "checkpoint": proven.checkpoint, "inclusion": [step.hex() for step in proven.proof]}
