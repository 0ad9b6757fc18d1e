"""What a ledger that is not continued leaves to the one after it: who was erased, and what a court wants kept.

The new ledger begins with it, each item as a record that names where it comes from. Of an erasure that is what a later start needs to know
when an older copy of the keys is put back; of a hold, what it needs to refuse. The ledger before may be cut, or damaged: what is missing of
it is looked for in copies, and what nobody has is counted and said.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson

from router.audit.governance.standing import CARRIED, EVENTS, FOUND_AGAIN, HOLD, REACHES, REPEATED, Hold, Standing
from router.audit.keys.store import SubjectKeyStore
from router.audit.questions.index import index_row
from router.audit.questions.reader import LedgerReader, Stored
from router.audit.records.record import SYSTEM, open_personal, system_entry
from router.errors import AuditError
from router.ports import Entry

T = TypeVar("T")
READ, NAMED = 4096, 500
_SYSTEM = f'"schema":"{SYSTEM}"'.encode()
Ranges = list[tuple[int, int]]
"""[first, end)"""


@dataclass(slots=True)
class Left:
    """`missing` are [first, end) ranges of records that nobody could read, `malformed` orders that say nothing that is known."""

    origin: str
    standing: Standing
    orders: dict[int, Stored]
    missing: Ranges
    malformed: list[int]
    reached: dict[int, set[str]] = field(default_factory=dict)


@dataclass(slots=True)
class CarriedOver:
    """What the new ledger's first records say, and what could not be said. `destroyed` keys had come back. `keys` says
    why the keys' store was not looked at; empty where it was. `beside_unread`: events that were decided, and deliveries that wait,
    could not be read, and are not in the new ledger."""

    entries: list[Entry]
    erasures: int = 0
    from_keys: int = 0
    holds: int = 0
    destroyed: int = 0
    unopened: int = 0
    missing: Ranges = field(default_factory=list)
    malformed: int = 0
    keys: str = ""
    beside_unread: bool = False


def left_by(reader: LedgerReader, copies: Sequence[LedgerReader], known: int) -> Left:
    """`known` records were in the ledger once, as far as a checkpoint says. Copies fill what `reader` has not. Raises AuditError where a
    copy is of another ledger."""
    origin, size = reader.origin(), max(known, *(each.size() for each in (reader, *copies)))
    missing: Ranges = [(0, size)] if size else []
    orders: dict[int, Stored] = {}
    for each in (reader, *copies):
        if each.origin() != origin:
            raise AuditError(f"The copy is of {each.origin()}, the ledger of {origin}.", "audit_origin_changed")
        missing = _read(each, missing, orders)
    left = Left(origin, Standing(), dict(sorted(orders.items())), missing, [])
    for index, stored in left.orders.items():
        try:
            left.standing.take(index, orjson.loads(stored.leaf))
        except AuditError:
            left.malformed.append(index)
    left.reached = _reached((reader, *copies), left.standing, size)
    return left


def carried_over(left: Left, keys: SubjectKeyStore | None, why_not: str = "") -> CarriedOver:
    """Destroys in the keys' store what was erased and is there again, and makes the records of everything. They come after the first record
    of the new ledger, in this order. Raises AuditError, after which the same may be done again."""
    told = CarriedOver([], missing=left.missing, malformed=len(left.malformed), keys=why_not)
    erased = _erasures(told, left, keys)
    back = [] if keys is None else keys.present(list(erased))
    if keys is not None and back:
        keys.destroy(*back)
        told.destroyed = len(back)
    for some in in_parts(back, NAMED):
        details = {"reason": "older_keys", "count": len(some), "key_ids": list(some), "compared": 0}
        told.entries.append(system_entry(FOUND_AGAIN, time.time_ns(), details))
    for key_id in back:
        told.entries.append(system_entry(REPEATED, time.time_ns(), {"key_id": key_id, "erasure": erased[key_id]}))
    _holds(told, left, keys)
    return told


def _erasures(told: CarriedOver, left: Left, keys: SubjectKeyStore | None) -> dict[str, int]:
    """The record of the new ledger that says so, by key id. What was ordered is carried out: its key goes, if it is still there."""
    standing, places = left.standing, dict[str, int]()
    for key_id, record in {**{key_id: order.record for key_id, order in standing.ordered.items()}, **standing.erased}.items():
        reason = orjson.loads(left.orders[record].leaf)["details"].get("reason", "")
        _tell(told, places, key_id, reason, {"origin": left.origin, "record": record})
    told.erasures = len(places)
    for number, key_id in enumerate([] if keys is None else keys.destroyed(), 1):
        if key_id not in places:
            _tell(told, places, key_id, "unknown", {"keys": number})
            told.from_keys += 1
    return places


def _tell(told: CarriedOver, places: dict[str, int], key_id: str, reason: str, where: dict[str, Any]) -> None:
    told.entries.append(system_entry(CARRIED, time.time_ns(), {"key_id": key_id, "reason": reason, "from": where}))
    places[key_id] = len(told.entries)  # after the first record


def _holds(told: CarriedOver, left: Left, keys: SubjectKeyStore | None) -> None:
    for hold in left.standing.holds.values():
        told.entries.append(_hold(told, left, hold, keys))
        told.holds += 1
        place = len(told.entries)
        for some in in_parts(sorted(left.reached.get(hold.record, ())), NAMED):
            told.entries.append(system_entry(REACHES, time.time_ns(), {"hold": place, "key_ids": list(some)}))


def _hold(told: CarriedOver, left: Left, hold: Hold, keys: SubjectKeyStore | None) -> Entry:
    """With who ordered it, and for which case, where that can be opened; it is sealed anew under the same person's key."""
    stored = left.orders[hold.record]
    details = {hold.on: hold.target, "from": {"origin": left.origin, "record": hold.record, "time": hold.time}}
    key = keys.key(stored.key_id) if keys is not None and stored.sealed else None
    if key is None:
        told.unopened += bool(stored.sealed)
        return system_entry(HOLD, time.time_ns(), details)
    try:
        personal = open_personal(Entry(stored.leaf, stored.sealed, stored.key_id), key)
    except AuditError:
        told.unopened += 1
        return system_entry(HOLD, time.time_ns(), details)
    return system_entry(HOLD, time.time_ns(), details, orjson.loads(stored.leaf)["id"], personal, stored.key_id, key)


def _read(reader: LedgerReader, wanted: Ranges, orders: dict[int, Stored]) -> Ranges:
    """Takes the orders among these records; the ranges that could not be read."""
    size, missing = reader.size(), list[tuple[int, int]]()
    for start, end in wanted:
        readable, next_one = min(end, size), start
        for stored in _records(reader, start, readable):
            if stored.index > next_one:
                missing.append((next_one, stored.index))
            next_one = stored.index + 1
            if _SYSTEM in stored.leaf:
                _take(stored, orders)
        if next_one < end:
            missing.append((next_one, end))
    return missing


def _records(reader: LedgerReader, start: int, end: int) -> Iterator[Stored]:
    """A damaged page costs the records on it, and no others."""
    for first in range(start, end, READ):
        yield from _some(reader, first, min(end, first + READ))


def _some(reader: LedgerReader, start: int, end: int) -> list[Stored]:
    try:
        return list(reader.records(start, end))
    except AuditError:
        if end - start == 1:
            return []
        middle = (start + end) // 2
        return [*_some(reader, start, middle), *_some(reader, middle, end)]


def _take(stored: Stored, orders: dict[int, Stored]) -> None:
    try:
        leaf = orjson.loads(stored.leaf)
    except orjson.JSONDecodeError:
        return
    if isinstance(leaf, dict) and leaf.get("schema") == SYSTEM and leaf.get("event") in EVENTS:
        orders[stored.index] = stored


def _reached(readers: Sequence[LedgerReader], standing: Standing, size: int) -> dict[int, set[str]]:
    """Whose keys must stay for a hold on a decision or an intent to hold anything, by the record of the hold. What follows a decision comes
    after it, and is found by its id."""
    found = {record: set(key_ids) for record, key_ids in standing.reached.items()}
    sought: dict[tuple[str, str], set[int]] = {}
    for hold in standing.holds.values():
        if hold.on != "key_id":
            sought.setdefault((hold.on, hold.target), set()).add(hold.record)
    if not sought:
        return found
    about: dict[str, set[int]] = {}
    for reader in readers:
        for stored in _records(reader, 0, min(size, reader.size())):
            row = index_row(stored)
            decision: str | None = row.get("decision_id")
            if decision is None or row["kind"] == "system":
                continue
            held = (("decision", decision), ("intent", row.get("intent") or ""))
            records = about.get(decision, set()).union(*(sought.get(each, ()) for each in held))
            if records:
                about[decision] = records
            for record in records if stored.key_id else ():
                found.setdefault(record, set()).add(stored.key_id)
    return found


def in_parts(these: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    return (these[start : start + most] for start in range(0, len(these), most))


def said(carried: CarriedOver) -> Iterator[str]:
    """One sentence for each thing that somebody has to know."""
    of_keys = f" and {carried.from_keys} that only the subjects' keys tell of" if carried.from_keys else ""
    yield f"Carried over: {carried.erasures} erasures{of_keys}, {carried.holds} legal holds."
    if carried.beside_unread:
        yield "What lay beside its records could not be read: deliveries that waited are not made, and events may be decided once more."
    if carried.destroyed:
        yield f"{carried.destroyed} keys that were erased had come back with an old copy of the keys; they are destroyed again."
    if carried.keys:
        yield f"The subjects' keys were not looked at ({carried.keys}): what came back is destroyed by the next start with them."
    if carried.unopened:
        yield f"Of {carried.unopened} holds it could not be opened who ordered them, and why: the records that they come from have it."
    if carried.missing or carried.malformed:
        count = sum(end - start for start, end in carried.missing) + carried.malformed
        places = ", ".join(f"{start}–{end - 1}" if end - start > 1 else str(start) for start, end in carried.missing[:5])
        more = f" ({places}{', …' if len(carried.missing) > 5 else ''})" if places else ""
        yield f"{count} records{more} are missing or could not be read: what only they say of erasures and legal holds is not known here."
