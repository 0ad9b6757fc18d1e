"""Rows on their way into the index: what inherits from a decision, what a decision takes over, and the segments that change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from adapters.sqlite.connection import StandardConnection
from adapters.sqlite.index_plan import place_of, read_data, read_zone
from adapters.sqlite.index_words import Ids, Word, Words
from router.audit.questions.columns import COLUMNS, INHERITED, LATE, NAMES, WORDLY, Kind
from router.audit.questions.segments import NULL, SIZE, Integers, pack, unpack

PAUSE = 32  # rows between two of `breathe`
_PLACES = {name: place for place, name in enumerate(NAMES)}
_AS_IS, _AS_WORD, _AS_ID = range(3)
_KEPT = {
    name: (place, _AS_WORD if COLUMNS[name].kind in WORDLY else _AS_ID if COLUMNS[name].kind is Kind.ID else _AS_IS)
    for name, place in _PLACES.items()
}
_IDS = [name for name in NAMES if COLUMNS[name].kind is Kind.ID]
_NOTHING = [NULL] * len(NAMES)
_INHERITED = [_PLACES[name] for name in INHERITED]
_LATE = {
    "outcome": [_PLACES[name] for name in LATE if name != "reviewer"],
    "review": [_PLACES[name] for name in ("review", "reviewer", "held", "deadline", "quorum")],
}
_BROUGHT = {**_LATE, "decision": [_PLACES[name] for name in LATE]}
_HELD, _TIME, _WAITED, _KEY, _REVIEWER, _SELF, _KIND, _DECISION = (
    _PLACES[name] for name in ("held", "time", "waited", "key_id", "reviewer", "self_review", "kind", "decision_id")
)


class Batch:
    """Within one transaction of the caller's. `first`: how many records are in the index already."""

    def __init__(
        self, connection: StandardConnection, words: Words, ids: Ids, first: int, breathe: Callable[[], None] | None = None
    ) -> None:
        self._connection = connection
        self._words = words
        self._ids = ids
        self._first = first
        self._breathe = breathe or (lambda: None)
        self._fresh: list[list[int]] = []
        self._old: dict[tuple[int, int], Integers] = {}
        self._changed: set[tuple[int, int]] = set()
        self._named: dict[str, dict[str, int]] = {}
        self._codes: dict[str, dict[Word, int]] = {}
        self._late: dict[int, list[int]] = {}

    def add(self, rows: Sequence[dict[str, Any]], until: int) -> None:
        """Those of the records up to `until`."""
        self._codes = self._words.refreshed()
        for code, idx in self._connection.execute("SELECT code, idx FROM late"):
            self._late.setdefault(code, []).append(idx)
        self._named = {name: self._ids.codes(name, _firsts(rows, name)) for name in _IDS}
        for number, row in enumerate(rows, 1):
            self._fill(row["idx"])
            self._add(row)
            if number % PAUSE == 0:
                self._breathe()
        self._fill(until)
        self._write()

    def _fill(self, until: int) -> None:
        """Holes of a damaged ledger."""
        while self._first + len(self._fresh) < until:
            self._fresh.append(self._coded({"kind": "unreadable"}))

    def _add(self, row: dict[str, Any]) -> None:
        coded, idx = self._coded(row), row["idx"]
        self._fresh.append(coded)
        if coded[_DECISION] == NULL:
            return
        if row["kind"] == "decision":
            self._catch_up(coded, idx)
            return
        decisions = self._decisions(coded[_DECISION])
        if not decisions:
            return
        at = decisions[0]
        decided = self._fresh[at - self._first] if at >= self._first else None
        for place in _INHERITED:
            if coded[place] == NULL:
                coded[place] = self._get(place, at) if decided is None else decided[place]
        if row["kind"] == "review":
            self._judged(coded, at)
        for place in _LATE.get(row["kind"], ()):
            if coded[place] != NULL:
                for each in decisions:
                    self._set(place, each, coded[place])

    def _coded(self, row: dict[str, Any]) -> list[int]:
        coded = _NOTHING.copy()
        for name, value in row.items():
            if value is None or name == "idx":
                continue
            place, how = _KEPT[name]
            if how == _AS_WORD:
                coded[place] = self._codes[name].get(value) or self._words.add(name, value)
            else:
                coded[place] = value if how == _AS_IS else self._named[name][value]
        return coded

    def _judged(self, coded: list[int], at: int) -> None:
        held = coded[_HELD]
        if held != NULL and held != coded[_TIME]:
            coded[_WAITED] = coded[_TIME] - held
        if coded[_REVIEWER] != NULL:
            coded[_SELF] = int(self._get(_KEY, at) == coded[_KEY])

    def _catch_up(self, coded: list[int], idx: int) -> None:
        """A decision after a record of its id: what that one brought is this one's too. It may be the same decision, recorded again."""
        before = coded[_DECISION] - 1
        if before == idx:
            return
        self._connection.execute("INSERT INTO late VALUES (?,?)", (coded[_DECISION], idx))
        self._late.setdefault(coded[_DECISION], []).append(idx)
        for place in _BROUGHT.get(str(self._words.word("kind", self._get(_KIND, before))), ()):
            if coded[place] == NULL:
                coded[place] = self._get(place, before)

    def _decisions(self, code: int) -> list[int]:
        """The indexes of the decisions whose id has this code; more than one where it was recorded again."""
        first = [code - 1] if self._get(_KIND, code - 1) == self._codes["kind"].get("decision") else []
        return [*first, *self._late.get(code, ())]

    def _get(self, place: int, idx: int) -> int:
        if idx >= self._first:
            return self._fresh[idx - self._first][place]
        return int(self._segment(place, idx // SIZE)[idx % SIZE])

    def _set(self, place: int, idx: int, value: int) -> None:
        if idx >= self._first:
            self._fresh[idx - self._first][place] = value
            return
        self._segment(place, idx // SIZE)[idx % SIZE] = value
        self._changed.add((place, idx // SIZE))

    def _segment(self, place: int, segment: int) -> Integers:
        values = self._old.get((place, segment))
        if values is None:
            values = self._old[place, segment] = self._read(place, segment)
        return values

    def _read(self, place: int, segment: int) -> Integers:
        zone = read_zone(self._connection, NAMES[place], segment)
        return unpack(zone, read_data(self._connection, NAMES[place], segment) if zone.width else b"")

    def _write(self) -> None:
        if self._fresh:
            fresh = np.array(self._fresh, dtype=np.int64).T
            for place in range(len(NAMES)):
                self._append(place, fresh[place])
                self._breathe()
        for place, segment in self._changed:
            self._store(place, segment, self._old[place, segment])

    def _append(self, place: int, values: Integers) -> None:
        segment, filled = divmod(self._first, SIZE)
        if filled and self._lengthened(place, segment, filled, values):
            return
        if filled:
            values = np.concatenate((self._segment(place, segment), values))
            self._changed.discard((place, segment))
        for start in range(0, len(values), SIZE):
            self._store(place, segment + start // SIZE, values[start : start + SIZE])

    def _lengthened(self, place: int, segment: int, filled: int, values: Integers) -> bool:
        """Whether the segment only has more of its one value now: so it is with most columns and few records."""
        if (place, segment) in self._old or filled + len(values) > SIZE:
            return False
        zone = read_zone(self._connection, NAMES[place], segment)
        if zone.width or not (values == zone.low).all():
            return False
        nulls = len(values) if zone.low == NULL else 0
        run = self._connection.execute
        run("UPDATE zones SET size = size + ?, nulls = nulls + ? WHERE kept = ? AND segment = ?", (len(values), nulls, place, segment))
        return True

    def _store(self, place: int, segment: int, values: Integers) -> None:
        store_segment(self._connection, place, segment, values)


def store_segment(connection: StandardConnection, place: int, segment: int, values: Integers) -> None:
    """`place`: which column."""
    zone, data = pack(values)
    run = connection.execute
    parts = (place, segment, zone.rows, zone.low, zone.high, zone.nulls, zone.width)
    run("INSERT OR REPLACE INTO zones VALUES (?,?,?,?,?,?,?)", parts)
    if data:
        run("INSERT OR REPLACE INTO segments VALUES (?,?)", (place_of(NAMES[place], segment), data))


def _firsts(rows: Sequence[dict[str, Any]], name: str) -> dict[str, int]:
    """Which row has each id first."""
    firsts: dict[str, int] = {}
    for row in rows:
        value = row.get(name)
        if value is not None:
            firsts.setdefault(value, row["idx"])
    return firsts
