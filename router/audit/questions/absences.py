"""When no Lockgate ran, or one of several nodes did not: from the records in which each says that it started and that it stopped.

A node that has a name among others says it in both (`name`), and is told from them by it. Where a record has none, the ledger is one
node's, or was written by releases that did not say it: such records are taken for those of one node, and a node's first record with a name
follows on what is left of them.

Of a node that says nothing any more another one tells (`node_lost`), with when it was heard of last: it is away since, until it starts
again or is back; where its name never comes again, until that was seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from router.audit.questions.columns import nanoseconds
from router.audit.questions.periods import Period
from router.audit.questions.query import Query, Trail
from router.audit.questions.where import where
from router.errors import AuditError

STARTED, STOPPED = "started", "stopped"
LOST, BACK = "node_lost", "node_back"
CRASHED, STILL, SILENT = "ended_without_stopping", "not_started_again", "not_heard_of"
_RUNS = f"kind = 'system' and event in ('{STARTED}', '{STOPPED}', '{LOST}', '{BACK}')"
CLOCKS_NS = 10_000_000_000
"""The database's clock, by which a node was heard of last, may be behind the node's."""
_WORK = "kind in ('decision', 'outcome')"
_NAMELESS = ""
_OF_A_START = ("witnessed", "unwitnessed", "key_rotated")  # what a start records before it says that it is one
_LOOKED_AT = 10


@dataclass(frozen=True, slots=True)
class _Said:
    """`time`: when it stopped, was heard of last, or went on; `told`: when that was recorded. `why`: of a node that stopped or was lost, as
    reasons of a period."""

    record: int
    time: int
    stopped: bool
    why: tuple[str, ...]
    told: int = 0

    @property
    def lost(self) -> bool:
        return self.told > 0


def absences(trail: Trail, query: Query, now_ns: int) -> list[Period]:
    """Those that lie in the times that are asked about, or reach into them, oldest first; with their whole length. Where nobody has
    started again the last goes on until now."""
    last = dict[str, _Said]()
    found = list(_ended(trail, query, last))
    found += _going_on(trail, last, now_ns)
    return sorted((one for one in found if _within(one, query)), key=lambda one: one.since_ns)


def _ended(trail: Trail, query: Query, last: dict[str, _Said]) -> Iterator[Period]:
    """What was `last` said by each node is there when this ends."""
    asked = replace(query, since=None, until=None).also(where(_RUNS))
    for row in trail.rows(asked, ("time", "event")):
        node, said = _said(trail, row)
        if said.lost and (known := last.get(node)) is not None and (known.stopped or known.time > said.time + CLOCKS_NS):
            continue  # it was told of twice, or was started again before anybody told of it
        if row["event"] in (BACK, STOPPED):  # it ended in order, so it had gone on
            before = last.get(node)
            if before is not None and before.lost:
                yield Period("away", before.time, max(said.time, before.time), 2, 0, 0, before.record, said.record, (SILENT,), node)
        elif row["event"] == STARTED:
            before = last.get(node) or last.pop(_NAMELESS, None)
            if before is not None:
                alone = all(each.stopped for name, each in last.items() if name != node)
                yield _absence(trail, node, before, said, alone=alone)
        last[node] = said


def _said(trail: Trail, row: dict[str, Any]) -> tuple[str, _Said]:
    """(the node's name, or none; what it said). Somebody stopped it, or it ended by itself for what made it fail."""
    told = trail.leaf(row["record"]).get("details")
    details = told if isinstance(told, dict) else {}
    name, failed = details.get("name"), details.get("failed")
    node = name if isinstance(name, str) else _NAMELESS
    if row["event"] == LOST:
        return node, _Said(row["record"], min(_seen(details, row["time"]), row["time"]), True, (CRASHED,), row["time"])
    why = (STOPPED, failed) if isinstance(failed, str) else (STOPPED,)
    return node, _Said(row["record"], row["time"], row["event"] == STOPPED, why)


def _seen(details: dict[str, Any], otherwise: int) -> int:
    try:
        return nanoseconds(details["seen"])
    except (LookupError, TypeError, ValueError):  # which is for a verification to report
        return otherwise


def _absence(trail: Trail, node: str, before: _Said, start: _Said, *, alone: bool) -> Period:
    """A clock may have been set back between the two. Where another node runs, the last record may be that one's."""
    if before.stopped:
        since, until = sorted((before.time, start.time))
        return Period("away", since, until, 2, 0, 0, before.record, start.record, before.why, node)
    since = min(_sign_of_life(trail, start), start.time) if alone else start.time
    return Period("away", since, start.time, 1, 0, 0, start.record, start.record, (CRASHED,), node)


def _sign_of_life(trail: Trail, start: _Said) -> int:
    """Of one that crashed the last record before it starts again: it went on for some time after that at most."""
    try:
        return nanoseconds(next(leaf["time"] for leaf in _before(trail, start) if leaf.get("event") not in _OF_A_START))
    except (AuditError, LookupError, TypeError, ValueError, StopIteration):  # which is for a verification to report
        return start.time


def _before(trail: Trail, start: _Said) -> Iterator[dict[str, Any]]:
    for index in range(start.record - 1, max(-1, start.record - 1 - _LOOKED_AT), -1):
        yield trail.leaf(index)


def _going_on(trail: Trail, last: dict[str, _Said], now_ns: int) -> Iterator[Period]:
    """Nothing where one of them runs, or crashed, which looks the same. Nodes of a release that names none look like one. One that was lost
    is away until that was told: whether another took its place, the ledger does not say."""
    for node, said in last.items():
        if said.lost:
            yield Period("away", said.time, max(said.told, said.time), 1, 0, 0, said.record, said.record, (*said.why, STILL), node)
    if not last or not all(said.stopped for said in last.values()):
        return
    node, end = max(last.items(), key=lambda each: each[1].record)
    works = trail.page(Query(where=where(_WORK)), None, 1).rows
    if not works or works[0].index < end.record:
        yield Period("away", end.time, max(now_ns, end.time), 1, 0, 0, end.record, end.record, (*end.why, STILL), node)


def _within(one: Period, query: Query) -> bool:
    begins = query.since is None or one.until_ns >= nanoseconds(query.since)
    return begins and (query.until is None or one.since_ns < nanoseconds(query.until))
