"""How long personal parts are kept, by class, and how old records are by a clock that no wrong clock can drive far."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from router.audit.questions.reader import IndexRow
from router.audit.records.canonical import canonical

DAY_NS = 86_400 * 10**9
MOST_NS = 31 * DAY_NS
SECOND_NS = 10**9


@dataclass(frozen=True, slots=True)
class RetentionClass:
    """Records that have one of the values in each column for which any are given. Without kinds it is every kind but `system`: who
    ordered an erasure stays on record unless somebody says so."""

    name: str
    keep_ns: int
    kinds: tuple[str, ...] = ()
    intents: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()
    effects: tuple[str, ...] = ()

    def matches(self, row: IndexRow) -> bool:
        if not (row["kind"] in self.kinds if self.kinds else row["kind"] not in ("system", "unreadable")):
            return False
        return all(
            not wanted or row[column] in wanted
            for column, wanted in (("intent", self.intents), ("risk", self.risks), ("effect", self.effects))
        )


@dataclass(frozen=True, slots=True)
class Retention:
    """The first class that matches is a record's own; what none matches is kept."""

    classes: tuple[RetentionClass, ...]

    @property
    def policy(self) -> str:
        """Names these classes, in this order, with these terms."""
        terms = [[each.name, each.keep_ns // SECOND_NS, each.kinds, each.intents, each.risks, each.effects] for each in self.classes]
        return sha256(canonical(terms)).hexdigest()[:16]

    def of(self, row: IndexRow) -> RetentionClass | None:
        return next((each for each in self.classes if each.matches(row)), None)


@dataclass(frozen=True, slots=True)
class Jump:
    """Between the records around `record` the machine's clock went on, or back, by `ns`, of which a month is counted."""

    record: int
    ns: int


class LedgerTime:
    """The age of records. From one time to the next it goes by what the records say, but by at most a month either way, and it never goes
    back: a clock that jumps years ahead makes nothing old, one that was set back and then right again makes nothing older than it is.
    A ledger that was idle for longer is a month older afterwards, and what is in it is kept so much longer."""

    def __init__(self, times: Iterable[tuple[int, str | None]], now_ns: int) -> None:
        """`times`: (index, RFC 3339 time with nine places) of some records, rising by index."""
        self._places, self._ages = array("Q"), array("q")
        self.jumps: list[Jump] = []
        self._latest: int | None = None
        self._at = self._furthest = 0
        for index, time in times:
            if time is not None:
                self._go_on(index, nanoseconds(time))
                self._places.append(index)
                self._ages.append(self._furthest)
        self._go_on(self._places[-1] + 1 if self._places else 0, now_ns)

    def older_than(self, ns: int) -> int:
        """Records before this index are that old."""
        found = bisect_right(self._ages, self._furthest - ns)
        return self._places[found - 1] + 1 if found else 0

    def _go_on(self, index: int, time: int) -> None:
        step = 0 if self._latest is None else time - self._latest
        if abs(step) > MOST_NS:
            self.jumps.append(Jump(index, step))
        self._latest = time
        self._at += max(-MOST_NS, min(step, MOST_NS))
        self._furthest = max(self._furthest, self._at)


def nanoseconds(time: str) -> int:
    """Of `2026-11-24T09:45:20.123456789Z`. Raises ValueError."""
    return int(datetime.fromisoformat(f"{time[:19]}+00:00").timestamp()) * SECOND_NS + int(time[20:29])
