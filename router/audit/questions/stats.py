"""Aggregates over everything that matches: counts, shares and percentiles, exact and never sampled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.audit.questions.columns import ALIASES, COLUMNS, MILLIONTHS, NS, WORDLY, Kind, column
from router.audit.questions.conditions import Condition
from router.audit.questions.reader import Chunk, IndexStore
from router.audit.questions.segments import NULL, Integers
from router.audit.questions.where import WhereError
from router.audit.records.canonical import timestamp
from router.faults import suggestion

MEASURED = ("confidence", "duration")
PERCENTS = (5, 50, 95)
IDS = ("reviewer", "reader", "key_id")
GROUPED = tuple(
    name for name, one in COLUMNS.items() if one.kind in WORDLY or one.kind in (Kind.FLAG, Kind.COUNT) or name in IDS
)  # fmt: skip
BUCKET = "bucket"
_SMALL = 1 << 20
Named = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Grouping:
    """`by` holds names of columns, `bucket_ns` is the length of a time bucket; buckets begin at multiples of it since 1970, UTC."""

    by: tuple[str, ...] = ()
    bucket_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """`names` says which, in the order of `by` and after the bucket's begin; `measures` has percentiles by measure, None where no record
    has that value. Durations are in seconds."""

    names: Named
    count: int
    share: float
    measures: dict[str, dict[str, float | None]]


@dataclass(frozen=True, slots=True)
class Statistics:
    """`headings` names the parts of each group's `names`. A record counts once in each of its words where a column has several.
    `complete`: how many records of the ledger were taken into account."""

    headings: tuple[str, ...]
    groups: list[Group]
    count: int
    complete: int

    def document(self) -> dict[str, Any]:
        groups = [
            {**dict(zip(self.headings, group.names, strict=True)), "count": group.count, "share": round(group.share, 6), **group.measures}
            for group in self.groups
        ]
        return {"records": self.count, "complete_to": self.complete, "groups": groups}


def grouping(by: Iterable[str], bucket_ns: int | None) -> Grouping:
    """Raises WhereError for what cannot be grouped by."""
    names = []
    for name in by:
        found = column(name)
        if found is None or found.name not in GROUPED:
            raise WhereError(f"Nothing can be counted by '{name}'.{suggestion(name, [*GROUPED, *ALIASES])}")
        names.append(found.name)
    return Grouping(tuple(dict.fromkeys(names)), bucket_ns)


def statistics(index: IndexStore, condition: Condition, wanted: Grouping, complete: int) -> Statistics:
    tally, count = _Tally(), 0
    timed = ("time",) if wanted.bucket_ns else ()
    for chunk in index.scan(condition, [*wanted.by, *MEASURED, *timed]):
        count += len(chunk["record"])
        tally.add(*_keys(index, chunk, wanted))
    headings = (BUCKET, *wanted.by) if wanted.bucket_ns else wanted.by
    names = _Names(index, wanted)
    groups = [Group(names.of(key), among, among / count, measures) for key, among, measures in tally.groups()]
    groups.sort(key=lambda group: (str(group.names[0]) if wanted.bucket_ns else "", -group.count, tuple(map(str, group.names))))
    return Statistics(headings, groups, count, complete)


@dataclass(frozen=True, slots=True)
class Distribution:
    """`counts` of records with a confidence in each of as many equal steps from 0 to 1, by a word of the column `by`; None where a record
    has none."""

    by: str
    counts: dict[str | None, list[int]]
    complete: int

    @property
    def count(self) -> int:
        return sum(map(sum, self.counts.values()))

    def document(self) -> dict[str, Any]:
        groups = [{self.by: name, "counts": counts} for name, counts in sorted(self.counts.items(), key=lambda each: str(each[0] or ""))]
        return {"records": self.count, "complete_to": self.complete, "groups": groups}


def distribution(index: IndexStore, condition: Condition, by: str, bins: int, complete: int) -> Distribution:
    """Raises WhereError for what is no column of single words."""
    found = column(by)
    if found is None or found.kind is not Kind.WORD:
        raise WhereError(f"Confidences cannot be told apart by '{by}'.")
    tally: dict[int, NDArray[np.int64]] = {}
    for chunk in index.scan(condition, [found.name, "confidence"]):
        given = chunk["confidence"] != NULL
        keys, places = chunk[found.name][given], np.minimum(chunk["confidence"][given] * bins // MILLIONTHS, bins - 1)
        for key in np.unique(keys).tolist():
            tally[key] = tally.get(key, np.zeros(bins, np.int64)) + np.bincount(places[keys == key], minlength=bins)
    words = index.words(found.name)
    return Distribution(found.name, {None if key == NULL else str(words[key]): counts.tolist() for key, counts in tally.items()}, complete)


def _keys(index: IndexStore, chunk: Chunk, wanted: Grouping) -> tuple[list[Integers], list[Integers]]:
    """(columns that tell groups apart, measures); a record with several words stands there once for each."""
    places = np.arange(len(chunk["record"]))
    keys = [chunk["time"] // wanted.bucket_ns] if wanted.bucket_ns else []
    keys += [chunk[name] for name in wanted.by]
    for place, name in enumerate(wanted.by, len(keys) - len(wanted.by)):
        if COLUMNS[name].kind is Kind.WORDS:
            single, repeats = _singles(index, name, keys[place])
            places, keys = np.repeat(places, repeats), [np.repeat(key, repeats) for key in keys]
            keys[place] = single
    return keys, [chunk[name][places] for name in MEASURED]


def _singles(index: IndexStore, name: str, codes: Integers) -> tuple[Integers, Integers]:
    """(a code for each single word of each record, how many each has). A single word's code is that of its place in `_alphabet`."""
    alphabet = {word: place for place, word in enumerate(_alphabet(index, name))}
    sets = [np.array([alphabet[word] for word in words] or [NULL], np.int64) for words in index.words(name)]
    found = [sets[0] if code == NULL else sets[code] for code in codes.tolist()]
    return np.concatenate(found) if found else codes, np.array([len(one) for one in found], np.int64)


def _alphabet(index: IndexStore, name: str) -> list[str]:
    return sorted({word for words in index.words(name) for word in words})


@dataclass(slots=True)
class _Tally:
    numbers: dict[tuple[int, ...], int] = field(default_factory=dict)
    counts: list[int] = field(default_factory=list)
    where: list[NDArray[np.int64]] = field(default_factory=list)
    values: list[list[Integers]] = field(default_factory=list)

    def add(self, keys: Sequence[Integers], values: list[Integers]) -> None:
        rows = len(values[0])
        joined = np.zeros(rows, np.int64)
        for key in keys:
            joined = _joined(joined, key)
        first, inverse, counts = _distinct(joined)
        numbers = [self._number(tuple(int(key[at]) for key in keys)) for at in first.tolist()]
        for number, count in zip(numbers, counts.tolist(), strict=True):
            self.counts[number] += count
        self.where.append(np.array(numbers, np.int64)[inverse])
        self.values.append(values)

    def groups(self) -> Iterator[tuple[tuple[int, ...], int, dict[str, dict[str, float | None]]]]:
        measures = [list(self._percentiles(place)) for place in range(len(MEASURED))]
        for key, number in self.numbers.items():
            told = {name: _scaled(name, measures[place][number]) for place, name in enumerate(MEASURED)}
            yield key, self.counts[number], told

    def _number(self, key: tuple[int, ...]) -> int:
        number = self.numbers.setdefault(key, len(self.numbers))
        if number == len(self.counts):
            self.counts.append(0)
        return number

    def _percentiles(self, place: int) -> Iterator[list[int | None]]:
        if not self.where:
            return
        values, groups = np.concatenate([each[place] for each in self.values]), np.concatenate(self.where)
        given = values != NULL
        values, groups = values[given], groups[given]
        small = groups.astype(np.uint16) if len(self.counts) < 1 << 16 else groups  # a radix sort
        order = np.argsort(small, kind="stable")
        values, ends = values[order], np.cumsum(np.bincount(groups, minlength=len(self.counts)))
        for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
            yield _nearest(values[start:end])


def _joined(before: Integers, key: Integers) -> Integers:
    """One number for each pair; NULL is as good as any value."""
    if not len(key):
        return before
    given = key[key != NULL]
    low, high = (int(given.min()), int(given.max())) if len(given) else (0, 0)
    if int(before.max()) >= 2**62 // (high - low + 2):
        before, key = np.unique(before, return_inverse=True)[1], np.unique(key, return_inverse=True)[1]
        return before * (int(key.max()) + 1) + key
    return before * (high - low + 2) + np.where(key == NULL, 0, key - low + 1)


def _distinct(joined: Integers) -> tuple[Integers, Integers, Integers]:
    """(where each first stands, which one each place has, how often each is there)"""
    if not len(joined) or int(joined.max()) >= _SMALL:
        _, first, inverse, counts = np.unique(joined, return_index=True, return_inverse=True, return_counts=True)
        return first, inverse, counts
    counts = np.bincount(joined)
    there = np.flatnonzero(counts)
    first = np.zeros(len(counts), np.int64)
    first[joined[::-1]] = np.arange(len(joined) - 1, -1, -1)
    ranks = np.cumsum(counts > 0) - 1
    return first[there], ranks[joined], counts[there]


def _nearest(values: Integers) -> list[int | None]:
    """Nearest rank: the smallest value that so many percent of all do not exceed."""
    if not len(values):
        return [None] * len(PERCENTS)
    ranks = [max(0, ceil(percent * len(values) / 100) - 1) for percent in PERCENTS]
    placed = np.partition(values, ranks)
    return [int(placed[rank]) for rank in ranks]


def _scaled(name: str, percentiles: list[int | None]) -> dict[str, float | None]:
    scale = MILLIONTHS if COLUMNS[name].kind is Kind.SCORE else NS
    return {f"p{percent}": None if value is None else value / scale for percent, value in zip(PERCENTS, percentiles, strict=True)}


class _Names:
    def __init__(self, index: IndexStore, wanted: Grouping) -> None:
        self._wanted = wanted
        self._index = index
        self._words = {
            name: _alphabet(index, name) if COLUMNS[name].kind is Kind.WORDS else index.words(name)
            for name in wanted.by
            if COLUMNS[name].kind in WORDLY
        }

    def of(self, key: tuple[int, ...]) -> Named:
        if self._wanted.bucket_ns:
            return (timestamp(key[0] * self._wanted.bucket_ns)[:19] + "Z", *map(self._named, self._wanted.by, key[1:]))
        return tuple(map(self._named, self._wanted.by, key))

    def _named(self, name: str, code: int) -> Any:
        if code == NULL:
            return None
        kind = COLUMNS[name].kind
        if kind in WORDLY:
            return self._words[name][code]
        if kind is Kind.ID:
            return self._index.id(name, code)
        return bool(code) if kind is Kind.FLAG else code
