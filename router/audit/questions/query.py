"""Questions to the audit trail. Every answer is complete up to the last commit at the time of asking; there is no row cap, only pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import orjson

from router.audit.governance.standing import Standing, follow
from router.audit.questions.columns import COLUMNS, WORDLY
from router.audit.questions.conditions import Compare, Condition, Plain, Some, condition, every, tests
from router.audit.questions.index import catch_up
from router.audit.questions.reader import IndexStore, KeyLookup, LedgerReader, Stored
from router.audit.questions.reading import told
from router.audit.questions.segments import NULL
from router.audit.questions.stats import Distribution, Grouping, Statistics, distribution, statistics
from router.audit.records.record import open_personal
from router.audit.tree.checkpoint import Checkpoint, note_checkpoint
from router.audit.tree.merkle import leaf_hash, verify_inclusion
from router.audit.tree.proof import prove_inclusion
from router.errors import AuditError
from router.ports import Entry

PAGE = 200


@dataclass(frozen=True, slots=True)
class Query:
    """Every field that is set must hold. Times are RFC 3339 with nine places (`canonical.timestamp`): `since` counts in, `until` out.
    `kind` is decision, outcome, review, system or evidence; a decision's `result` is that of its latest outcome. `key_id` stands for a
    subject. `where` is any further condition (`router.audit.questions.where`)."""

    since: str | None = None
    until: str | None = None
    key_id: str | None = None
    intent: str | None = None
    route: str | None = None
    effect: str | None = None
    reason: str | None = None
    min_confidence: float | None = None
    max_confidence: float | None = None
    decision_id: str | None = None
    trace_id: str | None = None
    kind: str | None = None
    result: str | None = None
    risk: str | None = None
    tenant: str | None = None
    where: Condition | None = None

    def conditions(self) -> list[Plain]:
        ranges = {
            "since": ("time", ">="),
            "until": ("time", "<"),
            "min_confidence": ("confidence", ">="),
            "max_confidence": ("confidence", "<="),
        }
        named = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "where"}
        return [(*ranges.get(name, (name, "=")), value) for name, value in named.items() if value is not None]

    def also(self, further: Condition) -> Query:
        return replace(self, where=every((self.where, further)))

    def condition(self) -> Condition:
        """With `where`."""
        return every((condition(self.conditions()), self.where))


def by_default(query: Query) -> Query:
    """Of decisions only, unless the condition asks for a kind of record or an event."""
    free = query.where is not None and any(test.column in ("kind", "event") for test in tests(query.where))
    return query if query.kind is not None or free else replace(query, kind="decision")


@dataclass(frozen=True, slots=True)
class Found:
    """`columns` are the index's view (an outcome has its decision's intent and so on). `personal` are the opened fields; without a
    key they are None and `sealed` says why: `sealed` (not asked to open), `erased`, `pruned`, `missing`, `unreadable` (also where the key
    is not there, and no record says that it was erased), or `none` where there are none. `gone_by` is the index of the record that says by
    whose order they were erased or pruned."""

    index: int
    leaf: dict[str, Any]
    columns: dict[str, Any]
    sealed: str
    personal: dict[str, str] | None = None
    gone_by: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """`cursor` continues after the last row; None at the end. `complete` is how many records the answer took into account."""

    rows: list[Found]
    cursor: int | None
    complete: int


@dataclass(frozen=True, slots=True)
class Proven:
    """A record with its inclusion proof (leaf upwards) in the tree of `checkpoint`; None while no checkpoint covers it."""

    found: Found
    checkpoint: str | None
    proof: list[bytes]


class Trail:
    """`keys` opens personal fields; without it they stay sealed."""

    def __init__(self, reader: LedgerReader, index: IndexStore, keys: KeyLookup | None = None) -> None:
        self._reader = reader
        self._index = index
        self._keys = keys
        self._standing = Standing()
        self._unsaid = set[str]()

    def page(self, query: Query, cursor: int | None = None, limit: int = PAGE, newest: bool = True, more: Sequence[str] = ()) -> Page:
        """`more` names columns that are wanted besides the usual ones."""
        complete = catch_up(self._reader, self._index)
        return self._page(query, cursor, limit, newest, complete, more)

    def find(self, query: Query, newest: bool = True) -> Iterator[Found]:
        """Everything that matches as of now."""
        complete = catch_up(self._reader, self._index)
        cursor: int | None = None
        while True:
            page = self._page(query, cursor, PAGE, newest, complete)
            yield from page.rows
            cursor = page.cursor
            if cursor is None:
                return

    def statistics(self, query: Query, grouping: Grouping) -> Statistics:
        """Exact, over everything that matches as of now."""
        complete = catch_up(self._reader, self._index)
        return statistics(self._index, query.condition(), grouping, complete)

    def distribution(self, query: Query, by: str, bins: int) -> Distribution:
        """Of confidences, exact, over everything that matches as of now."""
        complete = catch_up(self._reader, self._index)
        return distribution(self._index, query.condition(), by, bins, complete)

    def rows(self, query: Query, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """These columns and `record` of everything that matches, oldest first: times and durations in nanoseconds, ids as their codes."""
        catch_up(self._reader, self._index)
        words = {name: self._index.words(name) for name in columns if COLUMNS[name].kind in WORDLY}
        for chunk in self._index.scan(query.condition(), columns):
            listed = {name: values.tolist() for name, values in chunk.items()}
            for place in range(len(listed["record"])):
                yield {name: _plain(values[place], words.get(name)) for name, values in listed.items()}

    def id(self, column: str, code: int) -> str | None:
        return self._index.id(column, code)

    def leaf(self, index: int) -> dict[str, Any]:
        return _parsed(self._stored(index))

    def erasures(self, key_ids: Iterable[str]) -> dict[str, int]:
        """Of the keys that were destroyed, as of now, the first record of each that says so."""
        catch_up(self._reader, self._index)
        follow(self._reader, self._index, self._standing, tolerant=True)
        return {key_id: self._standing.erased[key_id] for key_id in key_ids if key_id in self._standing.erased}

    def told(self, query: Query) -> str:
        """What is asked for, as text with nothing personal in it."""
        catch_up(self._reader, self._index)
        return told(query.condition(), self._known)

    def show(self, identifier: str) -> list[Proven]:
        """The whole story of a decision, a trace or a request, by its id, in the order it was written. Raises AuditError
        `decision_unknown`, and `audit_tree_broken` where one is not what the latest checkpoint was signed for."""
        called = Some(tuple(Compare(name, "=", identifier) for name in ("decision_id", "trace_id", "request_id")))
        story = list(self.find(Query(where=called), newest=False))
        if not story:
            raise AuditError(f"The ledger holds no decision, trace or request {identifier}.", "decision_unknown")
        note = self._reader.latest_checkpoint()
        return [self._proven(found, note) for found in story]

    def _page(self, query: Query, cursor: int | None, limit: int, newest: bool, complete: int, more: Sequence[str] = ()) -> Page:
        follow(self._reader, self._index, self._standing, tolerant=True)
        rows = self._index.find(query.condition(), cursor, newest, limit, more)
        found = [self._found(row) for row in rows if row["idx"] < complete]
        return Page(found, rows[-1]["idx"] if len(rows) == limit else None, complete)

    def _found(self, row: dict[str, Any]) -> Found:
        stored = self._stored(row["idx"])
        leaf = _parsed(stored)
        state, personal = self._personal(stored, leaf)
        return Found(stored.index, leaf, row, state, personal, self._gone_by(stored, state))

    def _stored(self, index: int) -> Stored:
        stored = next(self._reader.records(index, index + 1), None)
        if stored is None:
            raise AuditError(f"Record {index} is missing from the ledger; run a verification.", "audit_record_missing")
        return stored

    def _known(self, column: str, word: str) -> bool:
        return any(word == each or (isinstance(each, tuple) and word in each) for each in self._index.words(column))

    def _gone_by(self, stored: Stored, state: str) -> int | None:
        if state == "erased":
            return self._standing.erased.get(stored.key_id)
        return self._standing.pruned(stored.index) if state == "pruned" else None

    def _personal(self, stored: Stored, leaf: dict[str, Any]) -> tuple[str, dict[str, str] | None]:
        if not stored.sealed and "sealed" not in leaf:
            return "none", None
        if stored.key_id in self._standing.erased:
            return "erased", None
        if not stored.sealed:
            return "missing" if self._standing.pruned(stored.index) is None else "pruned", None
        if self._keys is None:
            return "sealed", None
        key = self._keys(stored.key_id)
        if key is None:
            return "erased" if self._ordered_gone(stored.key_id) else "unreadable", None
        try:
            return "opened", open_personal(Entry(stored.leaf, stored.sealed, stored.key_id), key)
        except AuditError:
            return "unreadable", None

    def _ordered_gone(self, key_id: str) -> bool:
        """A key may be gone for other reasons: an older copy of the keys has none of somebody who came later. It goes after its order is on
        record, which may be since the page was begun."""
        if not self._standing.gone(key_id) and key_id not in self._unsaid:
            catch_up(self._reader, self._index)
            follow(self._reader, self._index, self._standing, tolerant=True)
            self._unsaid.add(key_id)  # an order that comes later is not why it was gone, and pages take it in anyhow
        return self._standing.gone(key_id)

    def _proven(self, found: Found, note: str | None) -> Proven:
        checkpoint: Checkpoint | None = note_checkpoint(note) if note else None
        if checkpoint is None or found.index >= checkpoint.size:
            return Proven(found, None, [])
        proof = prove_inclusion(self._reader, found.index, checkpoint.size)
        if not verify_inclusion(leaf_hash(self._stored(found.index).leaf), found.index, checkpoint.size, proof, checkpoint.root):
            message = f"Record {found.index} does not lead to the root that the checkpoint was signed for; run a verification."
            raise AuditError(message, "audit_tree_broken")
        return Proven(found, note, proof)


def _plain(value: int, words: Sequence[Any] | None) -> Any:
    if value == NULL:
        return None
    return value if words is None else words[value]


def _parsed(stored: Stored) -> dict[str, Any]:
    try:
        leaf = orjson.loads(stored.leaf)
    except orjson.JSONDecodeError as error:
        raise AuditError(f"Record {stored.index} is not JSON; run a verification.", "audit_record_damaged") from error
    return leaf if isinstance(leaf, dict) else {}
