"""Both sides held against each other: decisions, outcomes and evidence that do not fit.

One pass over the index in ledger order, with a look at single decisions where they do not follow each other closely: memory is bounded,
whatever the ledger's size.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from router.audit.copies.projecting import Projection, differences
from router.audit.questions.conditions import Plain
from router.audit.questions.index import catch_up
from router.audit.questions.reader import IndexRow, IndexStore, LedgerReader, Stored
from router.audit.records.canonical import timestamp
from router.audit.records.times import nanoseconds
from router.errors import AuditError

ROWS = 1000
RECENT = 100_000  # decisions that are remembered; a record about one of them needs no look at the index
GRACE_S = 900.0
ENDS = frozenset({"completed", "failed", "compensated", "reported"})
AUTHORISED = frozenset({"routed", "failed"})  # a failed dispatch may have reached the service
SENT = frozenset({"dispatched", "redispatched", "released"})


@dataclass(frozen=True, slots=True)
class Mismatch:
    """`kind` is a stable slug, `index` the record that shows it, `query` the command that shows it in full, or mends it. What is about
    the ledger's copies is about no decision and has no time."""

    kind: str
    index: int
    time: str
    decision_id: str
    message: str
    query: str


@dataclass(frozen=True, slots=True)
class Scan:
    """`after` goes on where this ends, None at the end. `complete` is how many records of the ledger were taken into account."""

    found: list[Mismatch]
    after: int | None
    complete: int


class Reconciliation:
    """`promises`: seconds within which a route's service owes evidence, by route; None where no catalog is at hand. An outcome, and
    evidence, that is younger than `grace` seconds is not missed yet."""

    def __init__(
        self,
        reader: LedgerReader,
        index: IndexStore,
        promises: Mapping[str, float] | None,
        now_ns: int,
        grace: float = GRACE_S,
        since: str | None = None,
    ) -> None:
        self._reader = reader
        self._index = index
        self._promises = promises or {}
        self._now_ns = now_ns
        self._settled = timestamp(now_ns - int(grace * 1e9))
        self._conditions: list[Plain] = [] if since is None else [("time", ">=", since)]
        self._recent: OrderedDict[str, bool] = OrderedDict()
        self._checks: Mapping[str, Callable[[IndexRow], Iterator[Mismatch]]] = {
            "decision": self._decision,
            "outcome": self._outcome,
            "review": self._review,
            "evidence": self._evidence,
        }

    def scan(self, after: int | None = None, rows: int = ROWS) -> Scan:
        """The next `rows` records."""
        complete = catch_up(self._reader, self._index)
        read = self._index.find(self._conditions, after, False, rows)
        found = [one for row in read if row["kind"] in self._checks for one in self._checks[row["kind"]](row)]
        return Scan(found, read[-1]["idx"] if len(read) == rows else None, complete)

    def _decision(self, row: IndexRow) -> Iterator[Mismatch]:
        decision_id = row["decision_id"]
        if decision_id in self._recent:
            yield _mismatch("decision_repeated", row, "This decision was recorded before.")
            return  # what followed it is looked for at the first
        self._remember(decision_id, ended=False)
        if row["result"] is None and row["time"] < self._settled and self._dispatches(row):
            yield _mismatch("outcome_missing", row, "It was decided, and nothing says how it ended.")
        if row["result"] == "routed" and row["route"] in self._promises:
            yield from self._promised(row, self._promises[row["route"]])

    def _dispatches(self, row: IndexRow) -> bool:
        """The decide API gives decisions that its caller acts on; these have no outcome."""
        return bool(self._leaf(row["idx"]).get("request", {}).get("door") != "decide")

    def _promised(self, row: IndexRow, within: float) -> Iterator[Mismatch]:
        story = self._story(row["decision_id"])
        ended = max((one["time"] for one in story if one["kind"] == "outcome"), default=row["time"])
        if ended >= timestamp(self._now_ns - int(within * 1e9)):
            return
        evidence = [one["time"] for one in story if one["kind"] == "evidence" and one["result"] in ENDS]
        if not evidence:
            yield _mismatch("evidence_missing", row, f"The service of route {row['route']} owes evidence of how it ended.")
        elif _later(min(evidence), ended, within):
            yield _mismatch("evidence_late", row, f"The service of route {row['route']} sent its evidence after the time it has.")

    def _outcome(self, row: IndexRow) -> Iterator[Mismatch]:
        if self._recent.get(row["decision_id"]) is False:
            self._remember(row["decision_id"], ended=True)
            return
        story = self._story(row["decision_id"])
        if not any(one["kind"] == "decision" for one in story):
            yield _mismatch("outcome_orphan", row, "It ended, and nothing says that it was decided.")
        before = [one for one in story if one["kind"] == "outcome" and one["idx"] < row["idx"]]
        if before and self._same_leaf(row, before):
            yield _mismatch("record_repeated", row, "The same outcome was recorded before.")
        elif before and not any(one["kind"] == "review" for one in story):
            yield _mismatch("outcome_repeated", row, "It had ended before, in another way.")

    def _review(self, row: IndexRow) -> Iterator[Mismatch]:
        before = [one for one in self._story(row["decision_id"]) if one["kind"] == "review" and one["idx"] < row["idx"]]
        if self._same_leaf(row, [one for one in before if one["result"] == row["result"]]):
            yield _mismatch("record_repeated", row, "The same step of the review was recorded before.")

    def _evidence(self, row: IndexRow) -> Iterator[Mismatch]:
        story = self._story(row["decision_id"])
        decisions = [one for one in story if one["kind"] == "decision"]
        if not decisions:
            yield _mismatch("evidence_orphan", row, "Something was done, and nothing says that it was decided.")
        elif not _authorised(row, decisions[0], story):
            ended = decisions[0]["result"] or decisions[0]["effect"]
            yield _mismatch("evidence_unauthorised", row, f"Something was done under a decision that let nothing be done then ({ended}).")
        if self._same_event(row, [one for one in story if one["kind"] == "evidence" and one["idx"] < row["idx"]]):
            yield _mismatch("record_repeated", row, "The same event was recorded before.")

    def _same_leaf(self, row: IndexRow, before: list[IndexRow]) -> bool:
        return any(self._leaf(one["idx"]) == self._leaf(row["idx"]) for one in before)

    def _same_event(self, row: IndexRow, before: list[IndexRow]) -> bool:
        """Under one decision and one key equal values have equal commitments, so that it shows without opening them."""
        told = self._event(row)
        return told is not None and any(self._event(one) == told for one in before if one["key_id"] == row["key_id"])

    def _event(self, row: IndexRow) -> tuple[Any, Any] | None:
        commitments = self._leaf(row["idx"]).get("commitments", {})
        source, event = commitments.get("source"), commitments.get("event_id")
        return None if source is None else (source, event)

    def _story(self, decision_id: str) -> list[IndexRow]:
        story, after = list[IndexRow](), None
        while True:
            page = self._index.find([("decision_id", "=", decision_id)], after, False, ROWS)
            story += page
            if len(page) < ROWS:
                return story
            after = page[-1]["idx"]

    def _remember(self, decision_id: str, *, ended: bool) -> None:
        self._recent[decision_id] = ended
        self._recent.move_to_end(decision_id)
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)

    def _leaf(self, index: int) -> dict[str, Any]:
        stored: Stored | None = next(self._reader.records(index, index + 1), None)
        leaf = {} if stored is None else orjson.loads(stored.leaf)
        return leaf if isinstance(leaf, dict) else {}


def _authorised(row: IndexRow, decision: IndexRow, story: list[IndexRow]) -> bool:
    """A held request may be worked on from the moment at which it is sent, or left to the one who asked; a decision of the decide API
    without an outcome when it is one to go on."""
    reviews = [one for one in story if one["kind"] == "review"]
    if reviews:
        return any(one["result"] in SENT and one["idx"] < row["idx"] for one in reviews)
    if decision["result"] is None:
        return decision["effect"] in ("allow", "reroute")
    return decision["result"] in AUTHORISED


def _later(time: str, than: str, seconds: float) -> bool:
    return nanoseconds(time) > nanoseconds(than) + int(seconds * 1e9)


def _mismatch(kind: str, row: IndexRow, message: str) -> Mismatch:
    return Mismatch(kind, row["idx"], row["time"], row["decision_id"], message, f"lockgate audit show {row['decision_id']}")


def compare(reader: LedgerReader, name: str, projection: Projection) -> Iterator[Mismatch]:
    """A projection against the ledger. One that cannot be read is a finding, too: nobody knows what it holds."""
    query = f"lockgate audit project {name} --rebuild"
    try:
        for index, message in differences(reader, projection):
            yield Mismatch("projection_differs", index, "", "", f"Projection {name}: {message}", query)
    except AuditError as error:
        yield Mismatch("projection_unreadable", 0, "", "", f"Projection {name}: {error}", query)
