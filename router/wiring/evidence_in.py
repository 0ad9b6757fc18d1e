"""Evidence from services into the ledger: once per event, under the decision's subject's key, durable before it is answered."""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import orjson

from adapters.sqlite.evidence import SqliteMarks
from adapters.sqlite.index import INDEX_FILE, SqliteIndex
from router.audit.questions.index import catch_up
from router.audit.questions.reader import LedgerReader, Stored
from router.audit.records.record import EVIDENCE, evidence_entry, open_personal
from router.control.cloud_events import CloudEvent
from router.control.services import Json
from router.errors import AuditError, RefusedError
from router.ports import Clock, Entry, Ids

T = TypeVar("T")
MARKS_FILE = "evidence.sqlite"
MARKING = "\x00lockgate evidence marks"  # among the subjects' keys; no subject's id begins so
BATCH = 5000

_OURS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")  # as decisions' ids are (UUIDv7)
_SCHEMA = f'"schema":"{EVIDENCE}"'.encode()


class Keys(Protocol):
    async def key_for(self, subject: str) -> tuple[str, bytes]: ...

    async def key(self, key_id: str) -> bytes | None: ...


class Appending(Protocol):
    async def append_many(self, entries: Sequence[Entry]) -> list[int]: ...


@dataclass(slots=True)
class _Files:
    reader: LedgerReader
    index: SqliteIndex
    marks: SqliteMarks


class EvidenceIntake:
    """`open_reader` opens the ledger, `state` is where what is derived lies. `destinations` gives the names of the catalog's destinations,
    the only sources that may stand in a leaf as they are.

    What happens, and what a crash there means: 1 the marks are brought up to the ledger's end; 2 events that are there are left out, or
    refused where they differ; 3 the others are appended; 4 answered. After 3 and before 4 the sender asks again and is answered by 1 and
    2. One request at a time: between 1 and 3 nobody else may append evidence.
    """

    def __init__(
        self,
        open_reader: Callable[[], LedgerReader],
        state: Path,
        keys: Keys,
        ledger: Appending,
        clock: Clock,
        ids: Ids,
        destinations: Callable[[], frozenset[str]],
    ) -> None:
        self._open_reader = open_reader
        self._state = state
        self._keys = keys
        self._ledger = ledger
        self._clock = clock
        self._ids = ids
        self._destinations = destinations
        self._thread = ThreadPoolExecutor(1, "evidence")
        self._lock = asyncio.Lock()
        self._files: _Files | None = None

    async def take(self, events: Sequence[CloudEvent], sender: str, key_id: str) -> Sequence[Json]:
        """As `router.control.services.EvidenceTaker` says."""
        async with self._lock:
            marking_id, marking = await self._keys.key_for(MARKING)
            files = await self._run(lambda: self._opened(marking_id))
            await self._catch_up(files, marking)  # 1
            marks = [_mark(marking, event.source, event.id) for event in events]
            known = {mark: index for mark in marks if (index := await self._known(files, mark)) is not None}
            new = self._once(events, marks, known)
            for event, mark in zip(events, marks, strict=True):
                if mark in known:
                    await self._same(files, event, known[mark])  # 2
            entries = [await self._entry(files, event, sender, key_id) for event in new.values()]
            indexes = await self._ledger.append_many(entries)  # 3
            placed = {**known, **dict(zip(new, indexes, strict=True))}
            return await self._run(lambda: [_receipt(files.reader, event, placed[mark]) for event, mark in zip(events, marks, strict=True)])

    async def close(self) -> None:
        async with self._lock:
            await self._run(self._close)
            self._thread.shutdown()

    def _once(self, events: Sequence[CloudEvent], marks: Sequence[bytes], known: Mapping[bytes, int]) -> dict[bytes, CloudEvent]:
        new: dict[bytes, CloudEvent] = {}
        for event, mark in zip(events, marks, strict=True):
            if mark not in known and new.setdefault(mark, event).document != event.document:
                raise _conflict(event)
        return new

    async def _known(self, files: _Files, mark: bytes) -> int | None:
        """None also where the key was destroyed under which the event was kept: then nobody can say any more what it was."""
        index = await self._run(lambda: files.marks.find(mark))
        if index is None:
            return None
        stored = await self._run(lambda: _stored(files.reader, index))
        if await self._keys.key(stored.key_id) is not None:
            return index
        await self._run(lambda: files.marks.drop(mark))
        return None

    async def _same(self, files: _Files, event: CloudEvent, index: int) -> None:
        """A record whose personal part was pruned since has nothing left to compare with, and counts as the same."""
        stored = await self._run(lambda: _stored(files.reader, index))
        if stored.sealed and (await self._personal(stored)).get("event") != event.document:
            raise _conflict(event)

    async def _entry(self, files: _Files, event: CloudEvent, sender: str, credential: str) -> Entry:
        """An orphan is kept under the sender's key; evidence about somebody who was erased keeps nothing personal."""
        reference, key_id = await self._run(lambda: _reference(files, event.decision))
        ours = reference in ("decision", "unknown")
        key: bytes | None
        if reference == "decision":
            key = await self._keys.key(key_id)
        else:
            key_id, key = await self._keys.key_for(sender)
        details = {
            "phase": event.phase,
            "reference": reference,
            "destination": event.source if event.source in self._destinations() else None,
            "sender": credential,
        }
        personal = {"event": event.document, "source": event.source, "event_id": event.id, "event_type": event.type}
        if reference == "foreign":
            personal["decision"] = event.decision or ""
        record_id = event.decision if ours and event.decision is not None else self._ids.new()
        return evidence_entry(record_id, self._clock.now_ns(), details, personal, key_id if key else "", key or b"")

    async def _catch_up(self, files: _Files, marking: bytes) -> None:
        while True:
            size, start, found = await self._run(lambda: _evidence_since(files))
            rows = []
            for stored in found:
                personal = await self._personal(stored)
                if personal:
                    rows.append((_mark(marking, personal["source"], personal["event_id"]), stored.index))
            end = min(size, start + BATCH)
            if end > start:
                await self._run(lambda: files.marks.extend(rows, end, files.reader.nodes(0, end - 1, end)[0]))  # noqa: B023 - awaited here
            if end >= size:
                return

    async def _personal(self, stored: Stored) -> dict[str, str]:
        key = await self._keys.key(stored.key_id)
        return {} if key is None else open_personal(Entry(stored.leaf, stored.sealed, stored.key_id), key)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _opened(self, marking_id: str) -> _Files:
        if self._files is None:
            index, marks = SqliteIndex(self._state / INDEX_FILE), SqliteMarks(self._state / MARKS_FILE, marking_id)
            self._files = _Files(self._open_reader(), index, marks)
        return self._files

    def _close(self) -> None:
        if self._files is not None:
            for file in (self._files.reader, self._files.index, self._files.marks):
                file.close()


def _evidence_since(files: _Files) -> tuple[int, int, list[Stored]]:
    """(records in the ledger, where the marks end, evidence in the next BATCH records)"""
    size = files.reader.size()
    start, last_hash = files.marks.complete()
    if start > size or (start and files.reader.nodes(0, start - 1, start) != [last_hash]):
        files.marks.reset()
        start = 0
    records = files.reader.records(start, min(size, start + BATCH))
    return size, start, [stored for stored in records if stored.sealed and _SCHEMA in stored.leaf]


def _reference(files: _Files, decision: str | None) -> tuple[str, str]:
    """(what the decision id is, the key id of the decision's subject)"""
    if decision is None:
        return "none", ""
    if not _OURS.fullmatch(decision):
        return "foreign", ""
    catch_up(files.reader, files.index)
    found = files.index.find([("decision_id", "=", decision), ("kind", "=", "decision")], None, False, 1)
    return ("decision", found[0]["key_id"] or "") if found else ("unknown", "")


def _receipt(reader: LedgerReader, event: CloudEvent, index: int) -> dict[str, Any]:
    """From the record, so that it is the same whenever it is asked for."""
    leaf = orjson.loads(_stored(reader, index).leaf)
    reference = leaf["evidence"]["reference"]
    decision = leaf["id"] if reference in ("decision", "unknown") else None
    return {"source": event.source, "id": event.id, "record": index, "decision_id": decision, "reference": reference}


def _stored(reader: LedgerReader, index: int) -> Stored:
    stored: Stored | None = next(reader.records(index, index + 1), None)
    if stored is None:
        raise AuditError(f"Record {index} is missing from the ledger; run a verification.", "audit_record_missing")
    return stored


def _mark(key: bytes, source: str, event_id: str) -> bytes:
    return hmac.digest(key, f"{source}\x00{event_id}".encode(), "sha256")


def _conflict(event: CloudEvent) -> RefusedError:
    return RefusedError(f"Another event was sent before as {event.id!r} of {event.source!r}.", "evidence_conflict", 409)
