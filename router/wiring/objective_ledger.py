"""Decisions and refusals of the last 30 days, counted from the ledger through its index: of all nodes that share it, and also before this
process began.

Which columns of which records count as what is the same as `router.telemetry.objectives` has for a worker's counters. A decision counts
when it was recorded, a refusal when its count was: those that the ledger could not take count when it can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import orjson

from adapters.sqlite.index import INDEX_FILE, SqliteIndex
from router.audit.questions.columns import NS, nanoseconds
from router.audit.questions.conditions import Compare, Every
from router.audit.questions.index import FAR, behind, catch_up
from router.audit.questions.reader import LedgerReader
from router.errors import AuditError
from router.telemetry.objectives.history import TIERS, History
from router.telemetry.objectives.rules import ABSTAINED, PERIOD_S, REFUSALS, UNCLASSIFIED, VERDICTS

REFUSED = "refused"
SLOT_S = TIERS[0][0]


@dataclass(slots=True)
class LedgerCounts:
    """`judged`: requests and those that were not judged; `ended`: decisions and those without an intent. On one thread at a time."""

    open_reader: Callable[[], LedgerReader]
    state: Path
    way: Callable[[], None]
    judged: History = field(default_factory=lambda: History(0.0))
    ended: History = field(default_factory=lambda: History(0.0))
    stopping: Event = field(default_factory=Event)
    _files: tuple[LedgerReader, SqliteIndex] | None = None
    _next: int = 0

    def read(self, now: float) -> bool:
        """Counts what came since the last time; False where the index is far behind, which is for others to change. Raises AuditError."""
        reader, index = self._opened()
        if behind(reader, index) > FAR:
            return False
        complete = catch_up(reader, index, self._breathe)
        if complete < self._next:  # made anew from another ledger, or from an older copy of this
            self._next = 0
        since = max(now - PERIOD_S, self._first_s(reader))
        into = (self.judged, self.ended) if self._next else (History(since), History(since))
        try:
            self._count(reader, index, complete, now, *into)
        except BaseException:
            self._next = 0  # who knows how much of it was counted: all of it is counted again
            raise
        self.judged, self.ended = into
        self._next = complete
        return True

    def close(self) -> None:
        for each in self._files or ():
            each.close()

    def _breathe(self) -> None:
        """Gives way, and ends what nobody waits for any more. Raises AuditError `audit_closed`."""
        if self.stopping.is_set():
            raise AuditError("Lockgate is stopping.", "audit_closed")
        self.way()

    def _opened(self) -> tuple[LedgerReader, SqliteIndex]:
        if self._files is None:
            self._files = self.open_reader(), SqliteIndex(self.state / INDEX_FILE)
        return self._files

    def _first_s(self, reader: LedgerReader) -> float:
        for stored in reader.records(0, 1):
            return _time_ns(orjson.loads(stored.leaf)) / NS
        return 0.0

    def _asked(self, complete: int, since_ns: int, *more: Compare) -> Every:
        return Every((Compare("record", ">=", self._next), Compare("record", "<", complete), Compare("time", ">=", since_ns), *more))

    def _count(self, reader: LedgerReader, index: SqliteIndex, complete: int, now: float, judged: History, ended: History) -> None:
        """One whose node has a clock that is ahead counts as of now: a time to come would push out what was."""
        since_ns = int((now - PERIOD_S - TIERS[-1][0]) * NS)
        for slot, total, unjudged, without in self._decisions(index, self._asked(complete, since_ns, Compare("kind", "=", "decision"))):
            judged.add(min(now, slot * SLOT_S), total, unjudged)
            ended.add(min(now, slot * SLOT_S), total, without)
        asked = self._asked(complete, since_ns, Compare("kind", "=", "system"), Compare("event", "=", REFUSED))
        for chunk in index.scan(asked, ()):
            for leaf in _leaves(reader, chunk["record"].tolist()):
                judged.add(min(now, _time_ns(leaf) / NS), *refused(leaf.get("details") or {}))
                self._breathe()

    def _decisions(self, index: SqliteIndex, asked: Every) -> Iterator[tuple[int, int, int, int]]:
        """(slot of time, decisions in it, those that were not judged, those without an intent)"""
        for chunk in index.scan(asked, ("time", "reason", "classification", "result")):
            bad = np.isin(chunk["reason"], _codes(index, "reason", lambda words: any(map(VERDICTS.fullmatch, words))))
            bad |= np.isin(chunk["classification"], _codes(index, "classification", lambda word: word == UNCLASSIFIED))
            abstained = np.isin(chunk["result"], _codes(index, "result", lambda word: word == ABSTAINED))
            slots, places = np.unique(chunk["time"] // (SLOT_S * NS), return_inverse=True)
            counts = (np.bincount(places, weights=each, minlength=len(slots)) for each in (np.ones(len(bad)), bad, abstained))
            yield from zip(slots.tolist(), *(each.astype(int).tolist() for each in counts), strict=True)
            self._breathe()


def refused(counts: dict[str, Any]) -> tuple[int, int]:
    """(how many requests, how many of them that Lockgate itself could not judge)"""
    numbers = {reason: count for reason, count in counts.items() if isinstance(count, int) and count > 0}
    return sum(numbers.values()), sum(count for reason, count in numbers.items() if REFUSALS.fullmatch(reason))


def _leaves(reader: LedgerReader, records: list[int]) -> Iterator[dict[str, Any]]:
    for record in records:
        for stored in reader.records(record, record + 1):
            yield orjson.loads(stored.leaf)


def _codes(index: SqliteIndex, column: str, wanted: Callable[[Any], bool]) -> list[int]:
    """Of the words that are wanted; none of them is that of nothing."""
    return [code for code, word in enumerate(index.words(column)) if word and wanted(word)]


def _time_ns(leaf: dict[str, Any]) -> int:
    try:
        return nanoseconds(leaf["time"])
    except (KeyError, TypeError, ValueError) as error:
        raise AuditError("A record of the ledger has no time; run a verification.", "audit_record_damaged") from error
