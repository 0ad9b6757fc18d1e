"""The index for questions: one SQLite file that is derived from the ledger and may be deleted at any time.

Columns are kept apart, in packed segments (`router.audit.segments`), so that any condition on any columns reads those columns only and
at the speed of memory; no filter needs an index of its own. Words and ids are codes of dictionaries (`sqlite_index_words`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from adapters.sqlite_connection import StandardConnection, private_file
from adapters.sqlite_index_batch import Batch
from adapters.sqlite_index_words import Ids, Words
from router.audit.canonical import timestamp
from router.audit.columns import COLUMNS, MILLIONTHS, NAMES, RECORD, WORDLY, Kind
from router.audit.conditions import Among, Asked, Compare, Condition, Every, Null, Some, Test, condition
from router.audit.segments import NULL, SIZE, Integers, Truth, Zone, chosen, null, unpack, unpack_one, within
from router.errors import AuditError

VERSION = "2"
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
    # A decision that came after another record of its id: where it is.
    "CREATE TABLE IF NOT EXISTS late (code INTEGER PRIMARY KEY, idx INTEGER)",
    "CREATE TABLE IF NOT EXISTS zones (kept INTEGER, segment INTEGER, size INTEGER, low INTEGER, high INTEGER, nulls INTEGER,"
    " width INTEGER, PRIMARY KEY (kept, segment)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS segments (place INTEGER PRIMARY KEY, data BLOB)",
)
_MANY = 12  # rows of one segment from which on it is quicker to read it whole


class SqliteIndex:
    """Implements the index store that `router.audit.reader` describes."""

    def __init__(self, path: Path) -> None:
        private_file(path)
        self._connection = StandardConnection(path)
        for statement in ("PRAGMA page_size=16384", "PRAGMA journal_mode=WAL", "PRAGMA synchronous=OFF", "PRAGMA mmap_size=17179869184"):
            self._connection.execute(statement)
        self._words = Words(self._connection)
        self._ids = Ids(self._connection)
        if self._version() != VERSION:
            self.reset()

    def complete(self) -> tuple[int, bytes]:
        meta = dict(self._connection.execute("SELECT name, value FROM meta"))
        return int(meta["complete"]), bytes(meta["last_hash"])

    def reset(self) -> None:
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        for (table,) in run("SELECT name FROM sqlite_master WHERE type = 'table'"):
            run(f'DROP TABLE "{table}"')
        for statement in SCHEMA:
            run(statement)
        run("INSERT INTO meta VALUES ('version', ?), ('complete', 0), ('last_hash', x'')", (VERSION,))
        run("COMMIT")
        self._words.forget()

    def extend(self, rows: Sequence[dict[str, Any]], complete: int, last_hash: bytes) -> None:
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        try:
            first = self.complete()[0]
            if first <= (rows[0]["idx"] if rows else complete):  # else another process was quicker
                Batch(self._connection, self._words, self._ids, first).add(rows)
                run("UPDATE meta SET value = ? WHERE name = 'complete'", (complete,))
                run("UPDATE meta SET value = ? WHERE name = 'last_hash'", (last_hash,))
            run("COMMIT")
        except AuditError:
            self._connection.close()
            raise

    def find(self, asked: Asked, after: int | None, newest: bool, limit: int, more: Sequence[str] = ()) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        with self._reading():
            size = self.complete()[0]
            plan = _Plan(self._connection, self._words, self._ids, condition(asked))
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
            size = self.complete()[0]
            plan = _Plan(self._connection, self._words, self._ids, condition(asked))
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

    def _reading(self) -> _Reading:
        return _Reading(self._connection)

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
        return [unpack_one(zone, part) for part in self._connection.parts("segments", "data", _place(name, segment), places, zone.width)]

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


class _Reading:
    """One state of the file for as long as a question takes."""

    def __init__(self, connection: StandardConnection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN")

    def __exit__(self, *_: object) -> None:
        self._connection.execute("COMMIT")


class _Plan:
    """A condition with its words looked up: where in a segment it is true."""

    def __init__(self, connection: StandardConnection, words: Words, ids: Ids, condition: Condition) -> None:
        self._connection = connection
        self._words = words
        self._ids = ids
        self._looks: dict[int, Look] = {}
        self._condition = condition
        self._data: dict[str, bytes] = {}
        self._zones: dict[str, dict[int, Zone]] = {}

    def hits(self, segment: int, rows: int) -> Integers:
        """Places in the segment, ascending."""
        self._data.clear()
        truth = self._true(self._condition, segment, rows)
        if isinstance(truth, bool):
            return np.arange(rows if truth else 0, dtype=np.int64)
        return np.flatnonzero(truth).astype(np.int64)

    def _true(self, condition: Condition, segment: int, rows: int) -> Truth:
        match condition:
            case Every(parts):
                return self._all(parts, segment, rows)
            case Some(parts):
                return self._any(parts, segment, rows)
        look = self._looks.get(id(condition))
        if look is None:
            look = self._looks[id(condition)] = _look(condition, self._words, self._ids)
        if condition.column == RECORD.name:
            first = segment * SIZE
            numbers = np.arange(first, first + rows, dtype=np.int64)
            zone, data = Zone(rows, first, first + rows - 1, 0, 4), lambda: (numbers - first + 1).astype(np.uint32).tobytes()
        else:
            zone, data = self._zone(condition.column, segment), lambda: self._read(condition.column, segment)
        return look(zone, data)

    def _all(self, parts: Sequence[Condition], segment: int, rows: int) -> Truth:
        truth: Truth = True
        for part in parts:
            found = self._true(part, segment, rows)
            if found is True:
                continue
            truth = found if truth is True else truth & found
            if truth is False or not np.any(truth):
                return False
        return truth

    def _any(self, parts: Sequence[Condition], segment: int, rows: int) -> Truth:
        truth: Truth = False
        for part in parts:
            found = self._true(part, segment, rows)
            if found is True:
                return True
            truth = found if truth is False else truth | found
        return truth

    def _zone(self, name: str, segment: int) -> Zone:
        """All of a column's are read together: most questions pass over most segments."""
        zones = self._zones.get(name)
        if zones is None:
            found = self._connection.execute(
                "SELECT segment, size, low, high, nulls, width FROM zones WHERE kept = ?", (NAMES.index(name),)
            )
            zones = self._zones[name] = {row[0]: Zone(*row[1:]) for row in found}
        return zones[segment]

    def _read(self, name: str, segment: int) -> bytes:
        if name not in self._data:
            self._data[name] = read_data(self._connection, name, segment)
        return self._data[name]


Look = Callable[[Zone, Callable[[], bytes]], Truth]


def _look(test: Test, words: Words, ids: Ids) -> Look:
    if isinstance(test, Null):
        return lambda zone, data: null(zone, data, test.wanted)
    kind = RECORD.kind if test.column == RECORD.name else COLUMNS[test.column].kind
    if kind in WORDLY:
        codes = words.chosen(test)
        return lambda zone, data: chosen(zone, data, codes)
    ranges = _ranges(test, lambda value: ids.find(test.column, str(value)) if kind is Kind.ID else int(value))
    return lambda zone, data: _within_any(zone, data, ranges)


def _ranges(test: Test, number: Callable[[Any], int]) -> list[tuple[int, int]]:
    """Inclusive; sorted and apart from each other."""
    least, most = NULL + 1, 2**63 - 1
    match test:
        case Compare(_, operator, value):
            at = number(value)
            named = {"=": (at, at), "<": (least, at - 1), "<=": (least, at), ">": (at + 1, most), ">=": (at, most)}
            return [(least, at - 1), (at + 1, most)] if operator == "<>" else [named[operator]]
        case Among(_, values, wanted):
            points = sorted({number(value) for value in values})
            if wanted:
                return [(at, at) for at in points]
            edges = [least - 1, *points, most + 1]
            return [(low + 1, high - 1) for low, high in pairwise(edges) if low + 1 <= high - 1]
        case _:
            raise ValueError(f"{test.column} is no word")


def _within_any(zone: Zone, data: Callable[[], bytes], ranges: Sequence[tuple[int, int]]) -> Truth:
    truth: Truth = False
    for low, high in ranges:
        found = within(zone, data, low, high)
        if found is True:
            return True
        truth = found if truth is False else truth | found
    return truth


def _segments(size: int, after: int | None, newest: bool) -> range:
    count = -(-size // SIZE)
    if newest:
        return range((count if after is None else min(count, -(-after // SIZE))) - 1, -1, -1)
    return range(0 if after is None else (after + 1) // SIZE, count)


def _place(name: str, segment: int) -> int:
    return NAMES.index(name) << 32 | segment


def read_zone(connection: StandardConnection, name: str, segment: int) -> Zone:
    found = connection.execute(
        "SELECT size, low, high, nulls, width FROM zones WHERE kept = ? AND segment = ?", (NAMES.index(name), segment)
    )
    return Zone(*found[0])


def read_data(connection: StandardConnection, name: str, segment: int) -> bytes:
    data: bytes = connection.execute("SELECT data FROM segments WHERE place = ?", (_place(name, segment),))[0][0]
    return data
