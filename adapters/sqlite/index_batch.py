"""Rows on their way into the index: what inherits from a decision, what a decision takes over, and the segments that change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from adapters.sqlite.connection import StandardConnection
from adapters.sqlite.index_plan import place_of, read_data, read_zone
from adapters.sqlite.index_words import Ids, Word, Words
from router.audit.questions.columns import COLUMNS, INHERITED, LATE, NAMES, WORDLY, Kind
from router.audit.questions.segments import NULL, SIZE, Integers, pack, unpack

_PLACES = {name: place for place, name in enumerate(NAMES)}
_INHERITED = [_PLACES[name] for name in INHERITED]
_LATE = {
    "outcome": [_PLACES[name] for name in LATE if name != "reviewer"],
    "review": [_PLACES[name] for name in ("review", "reviewer", "held", "deadline", "quorum")],
}
_BROUGHT = {**_LATE, "decision": [_PLACES[name] for name in LATE]}
_HELD, _TIME, _WAITED, _KEY, _REVIEWER, _SELF, _KIND, _DECISION, _OUTCOMES = (
    _PLACES[name] for name in ("held", "time", "waited", "key_id", "reviewer", "self_review", "kind", "decision_id", "outcomes")
)
_NOBODYS = 0  # the code of no word
_LONGEST = 2**62  # nanoseconds; longer is nobody's wait
Column = tuple[Integers, tuple[Any, ...]]
"""Of rows that are alike: where they are in the batch, and their values."""


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
        self._fresh: Integers = np.empty((len(NAMES), 0), np.int64)
        self._old: dict[tuple[int, int], Integers] = {}
        self._changed: set[tuple[int, int]] = set()
        self._codes: dict[str, dict[Word, int]] = {}
        self._late: dict[int, list[int]] = {}

    def add(self, rows: Sequence[dict[str, Any]], until: int) -> None:
        """Those of the records up to `until`. Column by column, and one by one only where a record has to do with more than one other:
        most decisions have one outcome, beside them."""
        self._codes = self._words.refreshed()
        for code, idx in self._connection.execute("SELECT code, idx FROM late"):
            self._late.setdefault(code, []).append(idx)
        self._fresh = np.full((len(NAMES), until - self._first), NULL, np.int64)
        rows = self._in_order(rows, until)
        alike = self._alike(rows)
        for place, name in enumerate(NAMES):
            having = [(at, tuple(map(itemgetter(name), some))) for at, some in alike if name in some[0]]
            for (at, _), coded in zip(having, self._coded(name, having, rows), strict=True):
                self._fresh[place, at] = coded
            self._breathe()
        holes = self._fresh[_KIND] == NULL
        if holes.any():
            self._fresh[_KIND, holes] = self._code("kind", "unreadable")
        for number in self._paired():
            self._add(number)
            self._breathe()
        self._write()

    def _in_order(self, rows: Sequence[dict[str, Any]], until: int) -> Sequence[dict[str, Any]]:
        """A damaged ledger has holes, and may tell of a record under another's number, or twice; what is left out is a hole."""
        if [row["idx"] for row in rows] == list(range(self._first, until)):
            return rows
        kept, last = list[dict[str, Any]](), self._first - 1
        for row in rows:
            if last < row["idx"] < until:
                kept.append(row)
                last = row["idx"]
        return kept

    def _alike(self, rows: Sequence[dict[str, Any]]) -> list[tuple[Integers, list[dict[str, Any]]]]:
        """Those with the same columns, which mostly are those of a kind, and where they are."""
        shapes: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for row in rows:
            shapes.setdefault(tuple(row), []).append(row)
        self._breathe()
        return [(np.array([row["idx"] for row in some], np.int64) - self._first, some) for some in shapes.values()]

    def _coded(self, name: str, having: list[Column], rows: Sequence[dict[str, Any]]) -> Iterator[list[int] | int]:
        """For each of those alike. What all have alike is told once."""
        codes = self._coding(name, having, rows)
        for _, values in having:
            same = values.count(values[0]) == len(values)
            some = values[:1] if same else values
            coded = [codes[value] for value in some] if codes else [NULL if value is None else value for value in some]
            yield coded[0] if same else coded

    def _coding(self, name: str, having: list[Column], rows: Sequence[dict[str, Any]]) -> Mapping[Any, int]:
        """Codes by value; empty where values are kept as they are."""
        if COLUMNS[name].kind is Kind.ID:
            return {None: NULL, **self._ids.codes(name, self._firsts(having))} if having else {}
        if COLUMNS[name].kind not in WORDLY:
            return {}
        known = self._codes[name]
        if any(not known.keys() >= {word for word in values if word is not None} for _, values in having):
            for row in rows:  # in their order, by which words have their codes however many records make a batch
                if row.get(name) is not None:
                    self._code(name, row[name])
        return {None: NULL, **known}

    def _code(self, name: str, word: Word) -> int:
        return self._codes[name].get(word) or self._words.add(name, word)

    def _firsts(self, having: list[Column]) -> dict[str, int]:
        """Which record has each id first."""
        firsts: dict[str, int] = {}
        for at, values in having:
            backwards = zip(reversed(values), reversed((at + self._first).tolist()), strict=True)
            for value, idx in dict(backwards).items():  # the first of those alike
                if value is not None and idx < firsts.get(value, idx + 1):
                    firsts[value] = idx
        return firsts

    def _paired(self) -> list[int]:
        """Tells decisions and outcomes of each other where a batch has one of each and nothing else of them. Where all others are that have
        an id, in order."""
        decisions, kinds, codes = self._fresh[_DECISION], self._fresh[_KIND], self._codes["kind"]
        having = np.flatnonzero(decisions != NULL)
        _, places, counts = np.unique(decisions[having], return_inverse=True, return_counts=True)
        first = decisions[having] - 1 - self._first  # which has the id first; before this batch, if it is below 0
        begun = np.where(first >= 0, kinds[np.maximum(first, 0)], NULL) == codes.get("decision", _NOBODYS)
        ends = begun & (counts[places] == 2) & (kinds[having] == codes.get("outcome", _NOBODYS))
        decided, ended = first[ends], having[ends]
        for place in _INHERITED:
            values = self._fresh[place]
            values[ended] = np.where(values[ended] == NULL, values[decided], values[ended])
        for place in _LATE["outcome"]:
            values = self._fresh[place]
            values[decided] = np.where(values[ended] == NULL, values[decided], values[ended])
        settled = ends | (begun & (first == having))  # a decision that is the first of its id takes nothing over
        rest: list[int] = having[~settled].tolist()
        return rest

    def _add(self, at: int) -> None:
        coded, idx = self._fresh[:, at].tolist(), self._first + at
        kind = str(self._words.word("kind", coded[_KIND]))
        if kind == "decision":
            self._catch_up(coded, idx)
        elif decisions := self._decisions(coded[_DECISION]):
            self._follow(coded, kind, decisions)
        self._fresh[:, at] = coded

    def _follow(self, coded: list[int], kind: str, decisions: list[int]) -> None:
        for place in _INHERITED:
            if coded[place] == NULL:
                coded[place] = self._get(place, decisions[0])
        if kind == "review":
            self._judged(coded, decisions[0])
        if kind == "outcome" and (before := self._get(_OUTCOMES, decisions[0])) != NULL:
            coded[_OUTCOMES] = before + 1
        for place in _LATE.get(kind, ()):
            if coded[place] != NULL:
                for each in decisions:
                    self._set(place, each, coded[place])

    def _judged(self, coded: list[int], at: int) -> None:
        held = coded[_HELD]
        if held != NULL and held != coded[_TIME] and abs(coded[_TIME] - held) <= _LONGEST:
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
            return int(self._fresh[place, idx - self._first])
        return int(self._segment(place, idx // SIZE)[idx % SIZE])

    def _set(self, place: int, idx: int, value: int) -> None:
        if idx >= self._first:
            self._fresh[place, idx - self._first] = value
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
        if self._fresh.size:
            for place in range(len(NAMES)):
                self._append(place, self._fresh[place])
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
