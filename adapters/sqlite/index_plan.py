"""A condition on its way over the segments: words looked up once, the sharpest test first, and no column read that decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from adapters.sqlite.connection import StandardConnection
from adapters.sqlite.index_words import Ids, Words
from router.audit.questions.columns import COLUMNS, NAMES, RECORD, WORDLY, Kind
from router.audit.questions.conditions import Among, Compare, Condition, Every, Null, Some, Test
from router.audit.questions.segments import NULL, SIZE, Data, Integers, Places, Truth, Zone, chosen, null, within

Look = Callable[[Zone, Data, Places], Truth]
_FEW = 8  # from where less than one in so many is left, only these are looked at further


class Plan:
    """Good for one state of the file."""

    def __init__(self, connection: StandardConnection, words: Words, ids: Ids, condition: Condition) -> None:
        self._connection = connection
        self._words = words
        self._ids = ids
        self._looks: dict[int, Look] = {}
        self._condition, _ = self._sharpened(condition)
        self._data: dict[str, bytes] = {}
        self._zones: dict[str, dict[int, Zone]] = {}

    def hits(self, segment: int, rows: int) -> Integers:
        """Places in the segment, ascending."""
        self._data.clear()
        truth = self._true(self._condition, segment, rows, None)
        if isinstance(truth, bool):
            return np.arange(rows if truth else 0, dtype=np.int64)
        return np.flatnonzero(truth).astype(np.int64)

    def _sharpened(self, condition: Condition) -> tuple[Condition, float]:
        """(the same with the parts of each AND sorted, which share of records passes, roughly)"""
        match condition:
            case Every(parts):
                sharp = sorted((self._sharpened(part) for part in parts), key=lambda pair: pair[1])
                return Every(tuple(part for part, _ in sharp)), min((share for _, share in sharp), default=1.0)
            case Some(parts):
                each = [self._sharpened(part) for part in parts]
                return Some(tuple(part for part, _ in each)), min(1.0, sum(share for _, share in each))
        self._looks[id(condition)], share = self._look(condition)
        return condition, share

    def _look(self, test: Test) -> tuple[Look, float]:
        if isinstance(test, Null):
            return lambda zone, data, places: null(zone, data, test.wanted, places), 0.5
        kind = RECORD.kind if test.column == RECORD.name else COLUMNS[test.column].kind
        if kind in WORDLY:
            codes = self._words.chosen(test)
            return lambda zone, data, places: chosen(zone, data, codes, places), float(codes.sum()) / len(codes)
        ranges = _ranges(test, lambda value: self._ids.find(test.column, str(value)) if kind is Kind.ID else int(value))
        points = all(low == high for low, high in ranges)
        share = 0.0 if kind is Kind.ID and points else 0.1 if points else 0.4
        return lambda zone, data, places: _within_any(zone, data, ranges, places), share

    def _true(self, condition: Condition, segment: int, rows: int, places: Places) -> Truth:
        """For each of the places, or for all."""
        match condition:
            case Every(parts):
                return self._all(parts, segment, rows, places)
            case Some(parts):
                return self._any(parts, segment, rows, places)
        if condition.column == RECORD.name:
            first = segment * SIZE
            zone = Zone(rows, first, first + rows - 1, 0, 4)
            return self._looks[id(condition)](zone, lambda: np.arange(1, rows + 1, dtype=np.uint32).tobytes(), places)
        zone = self._zone(condition.column, segment)
        return self._looks[id(condition)](zone, lambda: self._read(condition.column, segment), places)

    def _all(self, parts: Sequence[Condition], segment: int, rows: int, places: Places) -> Truth:
        """Once few are left, what remains is asked of these only."""
        truth: Truth = True
        few: Places = None
        for part in parts:
            asked = places if few is None else few if places is None else places[few]
            found = self._true(part, segment, rows, asked)
            if found is True:
                continue
            if found is False:
                return False
            if few is not None:
                few = few[found]
                if not len(few):
                    return False
                continue
            truth = found if truth is True else truth & found
            count = np.count_nonzero(truth)
            if not count:
                return False
            if count * _FEW < truth.size:
                few = np.flatnonzero(truth)
        return truth if few is None or isinstance(truth, bool) else _at(few, len(truth))

    def _any(self, parts: Sequence[Condition], segment: int, rows: int, places: Places) -> Truth:
        truth: Truth = False
        for part in parts:
            found = self._true(part, segment, rows, places)
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


def _at(places: Integers, rows: int) -> Truth:
    truth = np.zeros(rows, np.bool_)
    truth[places] = True
    return truth


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


def _within_any(zone: Zone, data: Data, ranges: Sequence[tuple[int, int]], places: Places) -> Truth:
    truth: Truth = False
    for low, high in ranges:
        found = within(zone, data, low, high, places)
        if found is True:
            return True
        truth = found if truth is False else truth | found
    return truth


def place_of(name: str, segment: int) -> int:
    """Below 2³¹: early Pythons 3.11 open no larger row's value piecewise."""
    return NAMES.index(name) << 24 | segment


def read_zone(connection: StandardConnection, name: str, segment: int) -> Zone:
    found = connection.execute(
        "SELECT size, low, high, nulls, width FROM zones WHERE kept = ? AND segment = ?", (NAMES.index(name), segment)
    )
    return Zone(*found[0])


def read_data(connection: StandardConnection, name: str, segment: int) -> bytes:
    data: bytes = connection.execute("SELECT data FROM segments WHERE place = ?", (place_of(name, segment),))[0][0]
    return data
