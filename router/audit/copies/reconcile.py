"""Both sides held against each other: decisions, outcomes and evidence that do not fit.

One pass over the index in ledger order, with a look at single decisions where they do not follow each other closely: memory is bounded,
whatever the ledger's size.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
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
STORIES = 20_000  # records in the stories that are kept, but for the last one, which is whole
_TOLD = ("idx", "kind", "time", "key_id", "result", "effect")  # what is kept of each
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


class _Story:
    """All that the index has about one decision, by kind and in ledger order."""

    def __init__(self, rows: Sequence[IndexRow]) -> None:
        self.size = len(rows)
        self.decisions, self.outcomes, self.reviews, self.evidence = (
            [row for row in rows if row["kind"] == kind] for kind in ("decision", "outcome", "review", "evidence")
        )
        self._repeated: dict[str, frozenset[int]] = {}

    def repeats(self, row: IndexRow, told: Callable[[IndexRow], bytes | None]) -> bool:
        """Whether an earlier record of its kind tells the same, which is looked for once for all of them; None tells nothing."""
        kind = row["kind"]
        if kind not in self._repeated:
            self._repeated[kind] = _again({"outcome": self.outcomes, "review": self.reviews, "evidence": self.evidence}[kind], told)
        return row["idx"] in self._repeated[kind]


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
        self._stories: OrderedDict[str, _Story] = OrderedDict()
        self._complete = self._in_stories = 0
        self._checks: Mapping[str, Callable[[IndexRow], Iterator[Mismatch]]] = {
            "decision": self._decision,
            "outcome": self._outcome,
            "review": self._review,
            "evidence": self._evidence,
        }

    def scan(self, after: int | None = None, rows: int = ROWS) -> Scan:
        """The next `rows` records."""
        complete = catch_up(self._reader, self._index)
        if complete != self._complete:  # what came since belongs to them
            self._stories.clear()
            self._complete, self._in_stories = complete, 0
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
        story = self._story(row)
        ended = max((one["time"] for one in story.outcomes), default=row["time"])
        if ended >= timestamp(self._now_ns - int(within * 1e9)):
            return
        evidence = [one["time"] for one in story.evidence if one["result"] in ENDS]
        if not evidence:
            yield _mismatch("evidence_missing", row, f"The service of route {row['route']} owes evidence of how it ended.")
        elif _later(min(evidence), ended, within):
            yield _mismatch("evidence_late", row, f"The service of route {row['route']} sent its evidence after the time it has.")

    def _outcome(self, row: IndexRow) -> Iterator[Mismatch]:
        if self._recent.get(row["decision_id"]) is False:
            self._remember(row["decision_id"], ended=True)
            return
        story = self._story(row)
        if not story.decisions:
            yield _mismatch("outcome_orphan", row, "It ended, and nothing says that it was decided.")
        if story.repeats(row, self._whole):
            yield _mismatch("record_repeated", row, "The same outcome was recorded before.")
        elif any(one["idx"] < row["idx"] for one in story.outcomes[:1]) and not story.reviews:
            yield _mismatch("outcome_repeated", row, "It had ended before, in another way.")

    def _review(self, row: IndexRow) -> Iterator[Mismatch]:
        if self._story(row).repeats(row, self._whole):
            yield _mismatch("record_repeated", row, "The same step of the review was recorded before.")

    def _evidence(self, row: IndexRow) -> Iterator[Mismatch]:
        story = self._story(row)
        if not story.decisions:
            yield _mismatch("evidence_orphan", row, "Something was done, and nothing says that it was decided.")
        elif not _authorised(row, story.decisions[0], story.reviews):
            ended = story.decisions[0]["result"] or story.decisions[0]["effect"]
            yield _mismatch("evidence_unauthorised", row, f"Something was done under a decision that let nothing be done then ({ended}).")
        if story.repeats(row, self._event):
            yield _mismatch("record_repeated", row, "The same event was recorded before.")

    def _whole(self, row: IndexRow) -> bytes:
        return orjson.dumps(self._leaf(row["idx"]), option=orjson.OPT_SORT_KEYS)

    def _event(self, row: IndexRow) -> bytes | None:
        """Under one decision and one key equal values have equal commitments, so that it shows without opening them."""
        commitments = self._leaf(row["idx"]).get("commitments", {})
        source, event = commitments.get("source"), commitments.get("event_id")
        return None if source is None else orjson.dumps([row["key_id"], source, event])

    def _story(self, row: IndexRow) -> _Story:
        """Made once for all that follows about the same decision: of one decision there may be very much evidence."""
        decision_id = row["decision_id"]
        story = self._stories.get(decision_id)
        if story is not None and row["idx"] < self._complete:
            self._stories.move_to_end(decision_id)
            return story
        if story is not None:  # somebody else has put more into the index
            self._in_stories -= self._stories.pop(decision_id).size
        made = self._stories[decision_id] = _Story(self._rows_of(decision_id))
        self._in_stories += made.size
        while self._in_stories > STORIES and len(self._stories) > 1:
            self._in_stories -= self._stories.popitem(last=False)[1].size
        return made

    def _rows_of(self, decision_id: str) -> list[IndexRow]:
        rows, after = list[IndexRow](), None
        while True:
            page = self._index.find([("decision_id", "=", decision_id)], after, False, ROWS)
            rows += [{name: row[name] for name in _TOLD} for row in page]
            if len(page) < ROWS:
                return rows
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


def _again(rows: Sequence[IndexRow], told: Callable[[IndexRow], bytes | None]) -> frozenset[int]:
    """The indexes of those that tell what one before them told."""
    seen, again = set[bytes | None](), set[int]()
    for row in rows if len(rows) > 1 else ():
        found = told(row)
        if found is not None and found in seen:
            again.add(row["idx"])
        seen.add(found)
    return frozenset(again)


def _authorised(row: IndexRow, decision: IndexRow, reviews: Sequence[IndexRow]) -> bool:
    """A held request may be worked on from the moment at which it is sent, or left to the one who asked; a decision of the decide API
    without an outcome when it is one to go on."""
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
