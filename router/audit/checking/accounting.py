"""What is missing from a ledger, held against what its own records say was taken out of it.

Only what a checkpoint was signed over speaks for itself: who can write to the file, and has no key, could add a record that excuses
what they deleted.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from router.audit.checking.afterwards import Afterwards
from router.audit.checking.chunk import Chunk, Fault
from router.audit.governance.standing import ORDERED, PRUNED, Standing
from router.audit.questions.reader import KeyLookup, Stored
from router.errors import AuditError

Records = Callable[[int, int], Iterator[Stored]]
Claims = tuple[Standing, list[Fault]]
GONE, SAID = 1, 2


@dataclass(frozen=True, slots=True)
class Missing:
    """A personal part, or the key with this id, that no signed record among those that are verified says to be gone."""

    fault: Fault
    key_id: str = ""

    def excused(self, standing: Standing) -> bool:
        return standing.gone(self.key_id) if self.key_id else standing.pruned(self.fault.index) is not None


@dataclass(slots=True)
class Account:
    """`pruned` counts the personal parts that are gone as they are said to be, `missing` are the others that are; both once `faults` was
    asked."""

    absent: array[int] = field(default_factory=lambda: array("Q"))
    unkeyed: dict[str, int] = field(default_factory=dict)
    orders: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    pruned: int = 0
    missing: list[Missing] = field(default_factory=list)
    afterwards: Afterwards = field(default_factory=Afterwards)

    def add(self, chunk: Chunk) -> None:
        """In the order of the records."""
        self.absent.extend(chunk.absent)
        self.orders.extend(chunk.orders)
        for key_id, index in chunk.unkeyed.items():
            self.unkeyed.setdefault(key_id, index)
        self.afterwards.add(chunk)

    def faults(self, signed: int, size: int, records: Records) -> list[Fault]:
        """`signed` records are covered by a checkpoint. What is `missing` is not among the faults. One byte a record tells what of it is
        gone and what is said to be."""
        standing, faults = self._standing(signed)
        faults.extend(self._broken_holds(signed, records))
        faults.extend(self.afterwards.faults(signed))
        marks = bytearray(size)
        for pruning in standing.prunings:
            for start, end in pruning.ranges():
                marks[start:end] = bytes([SAID]) * (end - start)
        for index in self.absent:
            marks[index] |= GONE
        self.pruned = marks.count(GONE | SAID)
        self.missing = [
            Missing(Fault(index, "sealed_missing", f"The personal part of record {index} is missing.")) for index in _all(marks, GONE)
        ]
        for index in _all(marks, SAID):
            message = f"Record {standing.pruned(index)} says that the personal part of record {index} was removed, and it was not."
            faults.append(Fault(index, "pruned_present", message))
        return faults

    def keys_missing(self, signed: int) -> list[Missing]:
        standing, _ = self._standing(signed)
        gone = [(index, key_id) for key_id, index in self.unkeyed.items() if not standing.gone(key_id)]
        said = "is gone, and no signed record says that it was erased."
        return [Missing(Fault(index, "key_missing", f"The key of record {index} {said}"), key_id) for index, key_id in gone]

    def key_faults(self, signed: int, key: KeyLookup) -> Iterator[Fault]:
        standing, _ = self._standing(signed)
        for key_id, index in standing.erased.items():
            if _is_there(key, key_id):
                yield Fault(index, "erased_present", f"Record {index} says that a key was destroyed which is still there.")

    def _broken_holds(self, signed: int, records: Records) -> Iterator[Fault]:
        """What was ordered to be erased, or was pruned, while a hold that an earlier record added was in force."""
        standing = Standing()
        for index, leaf in self.orders:
            if index >= signed or not _taken(standing, index, leaf):
                continue
            if leaf["event"] == ORDERED:
                key_id = leaf["details"]["key_id"]
                hold = standing.holding(key_id=key_id) or standing.reaching(key_id)
                if hold is not None:
                    message = f"Record {index} orders the erasure of a subject that record {hold.record} had put on hold."
                    yield Fault(index, "held_erased", message)
            elif leaf["event"] == PRUNED and standing.holds:
                yield from _held_and_pruned(standing, records)

    def _standing(self, signed: int) -> Claims:
        standing, faults = Standing(), list[Fault]()
        for index, leaf in self.orders:
            if index < signed:
                try:
                    standing.take(index, leaf)
                except AuditError as error:
                    faults.append(Fault(index, "order_malformed", str(error)))
        return standing, faults


def _taken(standing: Standing, index: int, leaf: dict[str, Any]) -> bool:
    try:
        standing.take(index, leaf)
    except AuditError:
        return False
    return True


def _held_and_pruned(standing: Standing, records: Records) -> Iterator[Fault]:
    """Of the latest pruning. The intent of a record other than a decision stands in its decision only, which tells for it."""
    pruning = standing.prunings[-1]
    for start, end in pruning.ranges():
        for stored in records(start, end):
            hold = standing.holding(key_id=stored.key_id, **_concerns(stored.leaf))
            if hold is not None:
                message = f"Record {pruning.record} pruned record {stored.index}, which record {hold.record} had put on hold."
                yield Fault(stored.index, "held_pruned", message)


def _concerns(raw: bytes) -> dict[str, str | None]:
    try:
        leaf = orjson.loads(raw)
        return {"decision": leaf.get("id"), "intent": leaf["classification"]["intent"] if "classification" in leaf else None}
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}  # a malformed leaf is a fault of its own


def _is_there(key: KeyLookup, key_id: str) -> bool:
    """Also where it does not open."""
    try:
        return key(key_id) is not None
    except AuditError as error:
        if error.code != "audit_sealing_key_wrong":
            raise
        return True


def _all(marks: bytearray, mark: int) -> Iterator[int]:
    place = marks.find(mark)
    while place >= 0:
        yield place
        place = marks.find(mark, place + 1)
