"""What a ledger's own records say is in force: legal holds, erasures, removals of personal parts. There is no other list of these.

| event | details |
|---|---|
| `erasure_ordered` | `key_id`, `reason` |
| `subject_erased` | `key_id`, `reason`, `order` (index of `erasure_ordered`), `records` (so many were sealed under the key), `up_to` |
| `erased_keys_found` | `reason` (one of FOUND), `count`, `key_ids`, `compared`: destroyed keys that are there, and go next |
| `erasure_repeated` | `key_id`, `erasure`: a key that came back with an old copy of the keys was destroyed again |
| `erasure_carried_over` | `key_id`, `reason`, `from`: another ledger, or the keys' store, says that it was destroyed |
| `hold_added` | one of `key_id`, `decision`, `intent`; with `from` it was in force in another ledger |
| `hold_reaches` | `hold`, `key_ids`: whose decisions, in the ledger that the hold came from, it is on |
| `hold_released` | `hold` (index of the record that added it) |
| `pruned` | `class`, `keep`, `policy`, `from`, `until`, `ranges` ([first, end) pairs), `count` |

`from` is `{"origin", "record"}` of the ledger before this one, or `{"keys": number}` (the place in the store's own list) where that ledger
does not tell of it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import orjson

from router.audit.questions.index import catch_up
from router.audit.questions.reader import IndexStore, KeyLookup, LedgerReader
from router.audit.records.record import SYSTEM
from router.errors import AuditError

ORDERED, ERASED, REPEATED = "erasure_ordered", "subject_erased", "erasure_repeated"
CARRIED, FOUND_AGAIN = "erasure_carried_over", "erased_keys_found"
HOLD, RELEASE, PRUNED, REACHES = "hold_added", "hold_released", "pruned", "hold_reaches"
EVENTS = (ORDERED, ERASED, CARRIED, HOLD, REACHES, RELEASE, PRUNED)
FOUND = ("older_keys", "other_ledger", "unmarked_keys", "put_back")
"""Why a destroyed key can be there: the store was last held against this ledger before the erasure; against another one; never; or after
it, so that somebody put back single keys."""
_SYSTEM = f'"schema":"{SYSTEM}"'.encode()
SPAN = 4096
TARGETS = ("key_id", "decision", "intent")


@dataclass(frozen=True, slots=True)
class Hold:
    """`record` is the index of the record that added it; `on` one of TARGETS."""

    record: int
    on: str
    target: str
    time: str


@dataclass(frozen=True, slots=True)
class Ordered:
    """An erasure that was ordered, under the id that its records share."""

    record: int
    id: str
    key_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class There:
    """A record that says of destroyed keys that they were there again: FOUND_AGAIN before they go, REPEATED once they are gone."""

    record: int
    event: str
    key_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pruning:
    """`edges` are the beginnings and ends of the ranges, one after the other, rising."""

    record: int
    name: str
    policy: str
    start: int
    until: int
    edges: array[int]

    def covers(self, index: int) -> bool:
        return self.start <= index < self.until and bisect_right(self.edges, index) % 2 == 1

    def spans(self) -> range:
        """Which runs of SPAN records it lies in."""
        return range(self.edges[0] // SPAN, (self.edges[-1] - 1) // SPAN + 1) if self.edges else range(0)

    def ranges(self) -> list[tuple[int, int]]:
        return list(zip(self.edges[::2], self.edges[1::2], strict=True))


@dataclass(slots=True)
class Standing:
    """Built by `take` from the records in their order. `erased` says by which record a key's erasure is told. Nothing before the record
    `since` is in it."""

    holds: dict[int, Hold] = field(default_factory=dict)
    ordered: dict[str, Ordered] = field(default_factory=dict)
    erased: dict[str, int] = field(default_factory=dict)
    prunings: list[Pruning] = field(default_factory=list)
    reached: dict[int, frozenset[str]] = field(default_factory=dict)
    released: int = -1
    taken: int = 0
    since: int = 0
    _by_place: dict[int, list[Pruning]] = field(default_factory=dict)

    def take(self, index: int, leaf: Mapping[str, Any]) -> None:
        """Raises AuditError `audit_order_malformed` for one of EVENTS that is not in its form; other records change nothing."""
        try:
            self._take(index, leaf["event"], leaf["details"], leaf)
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise AuditError(f"Record {index} orders something in a form that is not known.", "audit_order_malformed") from error
        self.taken = index + 1

    def unfinished(self) -> list[Ordered]:
        return [order for key_id, order in self.ordered.items() if key_id not in self.erased]

    def pruned(self, index: int) -> int | None:
        """The record which says that the personal part of this one was removed."""
        return next((each.record for each in self._by_place.get(index // SPAN, ()) if each.covers(index)), None)

    def considered(self, policy: str, name: str) -> int:
        """Up to where a class was looked at already; from the beginning again once a hold was released or the classes were changed."""
        since = (each.until for each in self.prunings if each.record > self.released and (each.policy, each.name) == (policy, name))
        return max(since, default=0)

    def holding(self, **targets: str | None) -> Hold | None:
        """The first hold on one of these: `key_id`, `decision`, `intent`."""
        return next((hold for hold in self.holds.values() if targets.get(hold.on) == hold.target), None)

    def reaching(self, key_id: str) -> Hold | None:
        """The first hold on something, in a ledger before this one, that is sealed under this key."""
        return next((hold for record, hold in self.holds.items() if key_id in self.reached.get(record, ())), None)

    def gone(self, key_id: str) -> bool:
        """Whether nobody may be given this key any more: it was destroyed, or is going to be."""
        return key_id in self.erased or key_id in self.ordered

    def _take(self, index: int, event: str, details: Mapping[str, Any], leaf: Mapping[str, Any]) -> None:
        if event == ORDERED:
            key_id = _text(details["key_id"])
            self.ordered.setdefault(key_id, Ordered(index, _text(leaf.get("id", "")), key_id, _text(details["reason"])))
        elif event in (ERASED, CARRIED):
            self.erased.setdefault(_text(details["key_id"]), index)
        elif event == HOLD:
            (on,) = [each for each in TARGETS if each in details]
            self.holds[index] = Hold(index, on, _text(details[on]), _text(leaf["time"]))
        elif event == REACHES:
            record = int(details["hold"])
            self.reached[record] = self.reached.get(record, frozenset()).union(map(_text, details["key_ids"]))
        elif event == RELEASE:
            self.holds.pop(int(details["hold"]), None)
            self.reached.pop(int(details["hold"]), None)
            self.released = index
        elif event == PRUNED:
            pruning = _pruning(index, details)
            self.prunings.append(pruning)
            for span in pruning.spans():
                self._by_place.setdefault(span, []).append(pruning)


def there_again(index: int, leaf: Mapping[str, Any]) -> There | None:
    """None where the leaf does not say so."""
    event, details = leaf.get("event"), leaf.get("details")
    if leaf.get("schema") != SYSTEM or event not in (FOUND_AGAIN, REPEATED) or not isinstance(details, dict):
        return None
    told = details.get("key_ids") if event == FOUND_AGAIN else [details.get("key_id")]
    return There(index, event, tuple(map(str, told))) if isinstance(told, list) else None


def follow(reader: LedgerReader, index: IndexStore, standing: Standing, *, tolerant: bool = False) -> None:
    """Takes what came since; the index must have been brought up to date. Raises AuditError `audit_order_malformed`, so that nothing is
    destroyed by somebody who cannot read every hold; who only looks is `tolerant`, and leaves it to a verification."""
    for place in index.events(EVENTS, standing.taken):
        stored = next(reader.records(place, place + 1), None)
        try:
            standing.take(place, {} if stored is None else _parsed(stored.leaf))
        except AuditError:
            if not tolerant:
                raise
            standing.taken = place + 1


def standing_now(reader: LedgerReader, index: IndexStore) -> Standing:
    """For who only looks."""
    catch_up(reader, index)
    standing = Standing()
    follow(reader, index, standing, tolerant=True)
    return standing


def but_destroyed(keys: KeyLookup, standing: Standing) -> KeyLookup:
    """The keys without those that the ledger says were, or are to be, destroyed."""
    return lambda key_id: None if standing.gone(key_id) else keys(key_id)


def read_through(reader: LedgerReader, standing: Standing, most: int | None = None) -> None:
    """Takes what came since from the records themselves, without an index; of the next `most` records, where that is given. Raises
    AuditError."""
    size = reader.size()
    end = size if most is None else min(size, standing.taken + most)
    for place, text in reader.leaves_with(_SYSTEM, standing.taken, end):
        leaf = _parsed(text)
        if leaf.get("schema") == SYSTEM and leaf.get("event") in EVENTS:
            standing.take(place, leaf)
    standing.taken = end


def _parsed(text: bytes) -> Mapping[str, Any]:
    try:
        leaf = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return leaf if isinstance(leaf, dict) else {}


def joined(places: Sequence[int]) -> list[tuple[int, int]]:
    """Rising indexes as [first, end) ranges."""
    ranges: list[tuple[int, int]] = []
    for place in places:
        if ranges and ranges[-1][1] == place:
            ranges[-1] = (ranges[-1][0], place + 1)
        else:
            ranges.append((place, place + 1))
    return ranges


def _pruning(index: int, details: Mapping[str, Any]) -> Pruning:
    edges = array("Q", [int(edge) for pair in details["ranges"] for edge in _pair(pair)])
    start, until = int(details["from"]), int(details["until"])
    rising = all(before < after for before, after in pairwise(edges))
    if not rising or (edges and not start <= edges[0] < edges[-1] <= until) or until > index:
        raise ValueError("the ranges do not rise, or lie outside")
    return Pruning(index, _text(details["class"]), _text(details["policy"]), start, until, edges)


def _pair(pair: Sequence[int]) -> Sequence[int]:
    if len(pair) != 2:
        raise ValueError("not a range")
    return pair


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value
