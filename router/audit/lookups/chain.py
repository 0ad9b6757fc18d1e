"""Sections of the verifiable index as the ledger's own records tell of them: which there are, and which together cover it.

A section covers a run of records. 16 of them that follow each other are joined into one of the next level, so that an answer needs
few of them however long the ledger is. What was joined stays in the ledger; whoever checks takes the longest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.audit.lookups.entries import KINDS, Summary
from router.audit.records.record import SYSTEM

EVENT = "index_signed"
JOINED = 16
HIGHEST = 2
"""The highest level: 256 sections of the lowest are one, and those are not joined any more."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A section of the records [start, end), as the record `record` tells of it. `trees` by kind, without their nodes."""

    record: int
    start: int
    end: int
    level: int
    trees: Mapping[str, Summary]


def details(start: int, end: int, level: int, trees: Mapping[str, Summary]) -> dict[str, Any]:
    """Of the record that signs it."""
    told = {kind: {"entries": tree.count, "root": tree.root.hex()} for kind, tree in trees.items()}
    return {"start": start, "end": end, "level": level, "trees": told}


def signed(record: int, leaf: Mapping[str, Any]) -> Signed | None:
    """None where the leaf tells of no section, or of one that cannot be."""
    if leaf.get("schema") != SYSTEM or leaf.get("event") != EVENT:
        return None
    try:
        told = leaf["details"]
        start, end, level = told["start"], told["end"], told["level"]
        trees = {kind: _tree(told["trees"][kind]) for kind in KINDS}
        sound = all(type(number) is int for number in (start, end, level)) and 0 <= start < end <= record
    except (LookupError, TypeError, ValueError, AttributeError):
        return None
    return Signed(record, start, end, level, trees) if sound else None


def _tree(told: Mapping[str, Any]) -> Summary:
    count, root = told["entries"], bytes.fromhex(told["root"])
    if type(count) is not int or count < 0 or len(root) != 32:
        raise ValueError("no tree of entries")
    return Summary(count, root)


def chain(sections: Iterable[Signed]) -> list[Signed]:
    """The fewest that follow each other from record 0 on without a gap."""
    longest = dict[int, Signed]()
    for section in sections:
        known = longest.get(section.start)
        if known is None or section.end > known.end:
            longest[section.start] = section
    found, place = list[Signed](), 0
    while place in longest:
        found.append(longest[place])
        place = found[-1].end
    return found


def covered(sections: Sequence[Signed]) -> int:
    """The records up to which a chain reaches."""
    return sections[-1].end if sections else 0


def to_join(sections: Sequence[Signed]) -> Sequence[Signed]:
    """The last sections of a chain, where they are to become one; none where not."""
    last = sections[-JOINED:]
    due = len(last) == JOINED and len({section.level for section in last}) == 1 and last[0].level < HIGHEST
    return last if due else ()


def to_begin(sections: Sequence[Signed], size: int, records: int, *, now: bool = False) -> tuple[int, int, int] | None:
    """(start, end, level) of the section that is to follow a chain in a ledger of `size` records, None where it is not time: with
    `records` of them, or with any when it is to be `now`. Where very many are to be made up for it is a large one at once."""
    start = covered(sections)
    for level in range(HIGHEST, -1, -1):
        length = records * JOINED**level
        if size - start >= length:
            return start, start + length, level
    return (start, size, 0) if now and size > start else None
