"""Removing personal parts that are older than their class says. Leaves, hashes, commits and checkpoints stay, so every proof does.

A batch's removal and the record that says which parts it removed are one transaction: there is no moment at which one is true without the
other. Batches are small, for the writer does nothing else meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from router.audit.governance.erasing import Orders, Who
from router.audit.governance.facts import Facts
from router.audit.governance.retention import Jump, LedgerTime, Retention, RetentionClass
from router.audit.governance.standing import PRUNED, joined
from router.audit.questions.reader import IndexRow
from router.audit.records.record import system_entry
from router.errors import AuditError
from router.ports import Entry
from router.settings import duration_text

log = logging.getLogger("lockgate.audit")
BATCH = 200
LOOK = 20_000
SAMPLES = 100_000
MOST = 50_000
PAUSE_S = 0.02  # for those who wait for the ledger, between two batches


@dataclass(frozen=True, slots=True)
class Batch:
    """`places` have a personal part that is to go; up to `until` everything was looked at. `held` were left because of a hold."""

    places: list[int]
    until: int
    size: int = 0
    held: int = 0


@dataclass(slots=True)
class ClassSummary:
    """`older_than` is the index before which records are old enough; `parts` and `size` (bytes) are what went, or would."""

    name: str
    keep_ns: int
    older_than: int = 0
    parts: int = 0
    size: int = 0
    held: int = 0


@dataclass(slots=True)
class Summary:
    """`records` say what was removed; `more` that there is more to do."""

    classes: list[ClassSummary]
    records: list[int] = field(default_factory=list)
    jumps: list[Jump] = field(default_factory=list)
    more: bool = False


class Pruning:
    def __init__(self, orders: Orders, retention: Retention) -> None:
        self._orders = orders
        self._retention = retention
        self._looked: dict[tuple[str, int], int] = {}

    async def prune(self, who: Who | None, most: int = MOST) -> Summary:
        """At most about so many parts in one call. `who` is None for the schedule. Where no checkpoint comes in time the next one covers
        what was removed. Raises AuditError; what was removed until then is on record."""
        retention = self._retention
        ages = await self._orders.ask(lambda facts: ages_of(facts, self._orders.clock.now_ns()))
        summary = Summary([], jumps=ages.jumps)
        for each in retention.classes:
            told = ClassSummary(each.name, each.keep_ns, ages.older_than(each.keep_ns))
            summary.classes.append(told)
            while not summary.more and await self._one_batch(each, told, summary, who):
                summary.more = sum(one.parts for one in summary.classes) >= most
                await asyncio.sleep(PAUSE_S)
        if summary.records:
            await self._orders.ledger.sign(summary.records[-1] + 1)
        return summary

    async def _one_batch(self, kept: RetentionClass, told: ClassSummary, summary: Summary, who: Who | None) -> bool:
        """False once everything was looked at."""
        async with self._orders.one_at_a_time:
            standing = await self._orders.ask(lambda facts: facts.standing())
            looked = (kept.name, standing.released)
            start = max(standing.considered(self._retention.policy, kept.name), self._looked.get(looked, 0))
            if start >= told.older_than:
                return False
            batch = await self._orders.ask(lambda facts: batch_of(facts, self._retention, kept, start, told.older_than))
            if batch.places:
                entry = await self._entry(kept, start, batch, who)
                summary.records.append(await self._orders.append(entry, batch.places))
            self._looked[looked] = batch.until
        _add(told, batch)
        return True

    async def _entry(self, kept: RetentionClass, start: int, batch: Batch, who: Who | None) -> Entry:
        details = {
            "class": kept.name,
            "keep": duration_text(kept.keep_ns / 1e9),
            "policy": self._retention.policy,
            "from": start,
            "until": batch.until,
            "ranges": [list(each) for each in joined(batch.places)],
            "count": len(batch.places),
        }
        if who is None:
            return system_entry(PRUNED, self._orders.clock.now_ns(), details)
        return await self._orders.entry(PRUNED, details, who)


def foreseen(facts: Facts, retention: Retention, now_ns: int) -> Summary:
    """What `prune` would remove now. Reads only, also beside a running Lockgate."""
    standing, ages = facts.standing(), ages_of(facts, now_ns)
    summary = Summary([], jumps=ages.jumps)
    for each in retention.classes:
        told = ClassSummary(each.name, each.keep_ns, ages.older_than(each.keep_ns))
        start = standing.considered(retention.policy, each.name)
        while start < told.older_than:
            batch = batch_of(facts, retention, each, start, told.older_than)
            _add(told, batch)
            start = batch.until
        summary.classes.append(told)
    return summary


def ages_of(facts: Facts, now_ns: int) -> LedgerTime:
    """Raises AuditError `audit_time_unreadable`."""
    facts.standing()
    step = max(1, facts.reader.size() // SAMPLES)
    try:
        return LedgerTime(facts.index.times(step), now_ns)
    except ValueError as error:
        raise AuditError("The time of a record cannot be read; run a verification.", "audit_time_unreadable") from error


def batch_of(facts: Facts, retention: Retention, kept: RetentionClass, start: int, end: int) -> Batch:
    """Up to BATCH parts of this class among the next LOOK records."""
    holds = {(hold.on, hold.target) for hold in facts.standing().holds.values()}
    places, size, held, until = list[int](), 0, 0, min(end, start + LOOK)
    for row, part in _parts(facts, retention, kept, start, until):
        if holds and _held(holds, row):
            held += 1
            continue
        places.append(row["idx"])
        size += part
        if len(places) == BATCH:
            return Batch(places, row["idx"] + 1, size, held)
    return Batch(places, until, size, held)


def _parts(facts: Facts, retention: Retention, kept: RetentionClass, start: int, end: int) -> Iterator[tuple[IndexRow, int]]:
    """Rows of the class that have a personal part, with its size in bytes. Records are read in runs, and only where the class has any."""
    rows = facts.rows(("record", ">=", start), ("record", "<", end))
    while page := list(islice(rows, BATCH)):
        own = [row for row in page if row["key_id"] is not None and retention.of(row) is kept]
        if own:
            sizes = {each.index: len(each.sealed) for each in facts.reader.records(own[0]["idx"], own[-1]["idx"] + 1)}
            yield from ((row, sizes[row["idx"]]) for row in own if sizes.get(row["idx"]))


def _held(holds: set[tuple[str, str]], row: IndexRow) -> bool:
    return any((on, row[column]) in holds for on, column in (("key_id", "key_id"), ("decision", "decision_id"), ("intent", "intent")))


def _add(told: ClassSummary, batch: Batch) -> None:
    told.parts += len(batch.places)
    told.size += batch.size
    told.held += batch.held
