"""The index for questions: one SQLite file that is derived from the ledger and may be deleted at any time.

Columns are kept apart, in packed segments (`router.audit.questions.segments`), so that any condition on any columns reads those columns
only and at the speed of memory; no filter needs an index of its own. Words and ids are codes of dictionaries (`index_words`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from adapters.sqlite.connection import StandardConnection, private_file
from adapters.sqlite.index_batch import Batch
from adapters.sqlite.index_plan import Plan, place_of, read_data, read_zone
from adapters.sqlite.index_words import Ids, Words
from router.audit.questions.columns import COLUMNS, MILLIONTHS, NAMES, RECORD, WORDLY, Kind
from router.audit.questions.conditions import Among, Asked, Compare, Every, condition
from router.audit.questions.reader import FOREIGN
from router.audit.questions.segments import NULL, SIZE, Integers, unpack, unpack_one
from router.audit.records.canonical import timestamp
from router.errors import AuditError

INDEX_FILE = "index.sqlite"
VERSION = "5"
VIEW = (
    "time", "kind", "decision_id", "trace_id", "key_id", "intent", "route", "effect", "result", "confidence", "risk", "tenant", "event",
    "review", "status", "duration"
)  # fmt: skip
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS words (kept INTEGER, code INTEGER, word TEXT, PRIMARY KEY (kept, code)) WITHOUT ROWID",
    *(
        f"CREATE TABLE IF NOT EXISTS {name} (code INTEGER PRIMARY KEY, value BLOB UNIQUE)"
        for name in NAMES
        if COLUMNS[name].kind is Kind.ID
    ),
    # Decisions that came after another record of their id, and so may not be found by it: where they are.
    "CREATE TABLE IF NOT EXISTS late (code INTEGER, idx INTEGER, PRIMARY KEY (code, idx)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS zones (kept INTEGER, segment INTEGER, size INTEGER, low INTEGER, high INTEGER, nulls INTEGER,"
    " width INTEGER, PRIMARY KEY (kept, segment)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS segments (place INTEGER PRIMARY KEY, data BLOB)",
)
_DROPPED = (  # with a table its triggers go, and so do a view's; nobody keeps one of ours where it cannot be dropped
    "SELECT type, name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' ORDER BY type = 'table'"
)
_MANY = 12  # rows of one segment from which on it is quicker to read it whole


class SqliteIndex:
    """Implements the index store that `router.audit.questions.reader` describes."""

    def __init__(self, path: Path) -> None:
        private_file(path)
        self._connection = StandardConnection(path)
        for statement in ("PRAGMA page_size=16384", "PRAGMA journal_mode=WAL", "PRAGMA synchronous=OFF"):
            self._connection.execute(statement)
        self._words = Words(self._connection)
        self._ids = Ids(self._connection)
        if self._version() != VERSION:
            self.reset()
            with suppress(AuditError):  # somebody else looks at it: then the room of the old one is used again bit by bit
                self._connection.execute("VACUUM")

    def complete(self) -> tuple[int, bytes]:
        """FOREIGN where the file has not what this release writes: it may have been changed since it was opened."""
        meta = dict(self._connection.execute("SELECT name, value FROM meta"))
        size, last_hash = meta.get("complete"), meta.get("last_hash")
        if meta.get("version") != VERSION or not isinstance(size, int) or size < 0 or not isinstance(last_hash, bytes):
            return FOREIGN
        return size, last_hash

    def reset(self) -> None:
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        for kind, name in run(_DROPPED):
            quoted = name.replace('"', '""')
            run(f'DROP {kind} "{quoted}"')
        for statement in SCHEMA:
            run(statement)
        run("INSERT INTO meta VALUES ('version', ?), ('complete', 0), ('last_hash', x'')", (VERSION,))
        run("COMMIT")
        self._words.forget()

    def extend(
        self, rows: Sequence[dict[str, Any]], start: int, complete: int, last_hash: bytes, breathe: Callable[[], None] | None = None
    ) -> None:
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        try:
            if self.complete()[0] == start:
                Batch(self._connection, self._words, self._ids, start, breathe).add(rows, complete)
                run("UPDATE meta SET value = ? WHERE name = 'complete'", (complete,))
                run("UPDATE meta SET value = ? WHERE name = 'last_hash'", (last_hash,))
            run("COMMIT")
        except BaseException:
            self._words.forget()  # those of the batch are not there
            with suppress(AuditError):  # SQLite may have rolled back by itself
                run("ROLLBACK")
            raise

    def events(self, names: Sequence[str], after: int) -> list[int]:
        wanted = Every((Compare(RECORD.name, ">=", after), Compare("kind", "=", "system"), Among("event", tuple(names))))
        return [int(index) for chunk in self.scan(wanted, ()) for index in chunk[RECORD.name]]

    def times(self, step: int) -> Iterator[tuple[int, str | None]]:
        with self._reading():
            size = self._size()
            for segment in _segments(size, None, newest=False):
                first = segment * SIZE
                hits = np.arange(-first % step, min(SIZE, size - first), step, dtype=np.int64)
                if len(hits):
                    values = self._values("time", segment, hits)
                    yield from ((first + int(hit), self._said("time", int(value))) for hit, value in zip(hits, values, strict=True))

    def find(self, asked: Asked, after: int | None, newest: bool, limit: int, more: Sequence[str] = ()) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        with self._reading():
            size = self._size()
            plan = Plan(self._connection, self._words, self._ids, condition(asked))
            for segment in _segments(size, after, newest):
                hits = plan.hits(segment, min(SIZE, size - segment * SIZE))
                if after is not None:
                    hits = hits[hits + segment * SIZE < after] if newest else hits[hits + segment * SIZE > after]
                hits = (hits[::-1] if newest else hits)[: limit - len(found)]
                found += self._rows(segment, hits, tuple(dict.fromkeys((*VIEW, *more))))
                if len(found) == limit:
                    break
        return found

    def scan(self, asked: Asked, columns: Sequence[str]) -> Iterator[dict[str, Integers]]:
        with self._reading():
            size = self._size()
            plan = Plan(self._connection, self._words, self._ids, condition(asked))
            for segment in _segments(size, None, newest=False):
                hits = plan.hits(segment, min(SIZE, size - segment * SIZE))
                if len(hits):
                    values = {name: self._values(name, segment, hits) for name in columns if name != RECORD.name}
                    yield {RECORD.name: hits + segment * SIZE, **values}

    def words(self, column: str) -> Sequence[str | tuple[str, ...]]:
        return self._words.listed(column)

    def id(self, column: str, code: int) -> str | None:
        return self._ids.value(column, code)

    def close(self) -> None:
        self._connection.close()

    def _version(self) -> Any:
        if not self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'"):
            return None
        return dict(self._connection.execute("SELECT name, value FROM meta")).get("version")

    def _size(self) -> int:
        """Raises AuditError `audit_indexing` where somebody changed the file since whoever asks has made up for what came."""
        complete = self.complete()
        if complete == FOREIGN:
            raise AuditError("The index of the audit trail has to be made anew; ask again.", "audit_indexing")
        return complete[0]

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """One state of the file for as long as a question takes."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("COMMIT")

    def _values(self, name: str, segment: int, hits: Integers) -> Integers:
        zone = read_zone(self._connection, name, segment)
        return unpack(zone, read_data(self._connection, name, segment) if zone.width else b"", hits)

    def _rows(self, segment: int, hits: Integers, names: Sequence[str]) -> list[dict[str, Any]]:
        if not len(hits):
            return []
        kept = {name: self._some(name, segment, hits) for name in names}
        numbers = (hits + segment * SIZE).tolist()
        return [{"idx": idx, **{name: self._said(name, kept[name][place]) for name in names}} for place, idx in enumerate(numbers)]

    def _some(self, name: str, segment: int, hits: Integers) -> list[int]:
        zone = read_zone(self._connection, name, segment)
        if not zone.width:
            return [zone.low] * len(hits)
        if len(hits) > _MANY:
            values: list[int] = unpack(zone, read_data(self._connection, name, segment), hits).tolist()
            return values
        places = [int(hit) * zone.width for hit in hits]
        return [unpack_one(zone, part) for part in self._connection.parts("segments", "data", place_of(name, segment), places, zone.width)]

    def _said(self, name: str, value: int) -> Any:
        if value == NULL:
            return None
        kind = COLUMNS[name].kind
        if kind in WORDLY:
            return self._words.word(name, value)
        if kind is Kind.ID:
            return self._ids.value(name, value)
        if kind is Kind.TIME:
            return timestamp(value)
        return value / MILLIONTHS if kind is Kind.SCORE else value


def _segments(size: int, after: int | None, newest: bool) -> range:
    count = -(-size // SIZE)
    if newest:
        return range((count if after is None else min(count, -(-after // SIZE))) - 1, -1, -1)
    return range(0 if after is None else (after + 1) // SIZE, count)
