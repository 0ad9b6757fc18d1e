"""What the verifiable index is made of: under which keys a record is found, and the tree over sorted entries.

A key is SHA-256 over its kind and its words, with a zero byte between each. An entry is a key and the record's index (8 bytes,
big-endian). Entries are sorted as bytes, so all of one key lie beside each other, and what is left and right of them shows that there are
no more. The tree over them is RFC 6962's, each entry a leaf.

| kind | words | of which records |
|---|---|---|
| `decision` | the id | every one that bears it |
| `subject` | id of the subject's key | those whose personal part was sealed under it, and orders about it |
| `intent_day` | intent, `YYYY-MM-DD` | decisions on this intent, by their own time |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from router.audit.questions.reader import Stored
from router.audit.records.record import DECISION, SYSTEM
from router.audit.tree.merkle import EMPTY_ROOT
from router.audit.tree.proof import STRIDE

KINDS = ("decision", "subject", "intent_day")
ENTRY = 40  # bytes
KEY = 32
SLICE = 1024

Lists = Mapping[str, list[bytes]]
"""Entries by kind."""
Breathe = Callable[[], None]
"""Called every few hundred microseconds of work, so that it can give way."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A tree of entries. `nodes` are the hashes of its complete subtrees at every eighth level above the leaves."""

    count: int
    root: bytes
    nodes: tuple[bytes, ...] = ()


def key_of(kind: str, *words: str) -> bytes:
    return sha256("\x00".join((kind, *words)).encode()).digest()


def entries_of(stored: Stored) -> list[tuple[str, bytes]]:
    """(kind, entry), each kind at most once. A leaf that says something of another form there, which `verify` reports, is found by the
    rest."""
    leaf, found = _leaf(stored.leaf), list[tuple[str, bytes]]()
    if isinstance(identifier := leaf.get("id"), str):
        found.append(("decision", entry(key_of("decision", identifier), stored.index)))
    if key_id := stored.key_id or _about(leaf):
        found.append(("subject", entry(key_of("subject", key_id), stored.index)))
    if words := _intent_day(leaf):
        found.append(("intent_day", entry(key_of("intent_day", *words), stored.index)))
    return found


def day_of(leaf: Mapping[str, Any]) -> str:
    return str(leaf.get("time"))[:10]


def entry(key: bytes, record: int) -> bytes:
    return key + record.to_bytes(ENTRY - KEY, "big")


def record_of(told: bytes) -> int:
    return int.from_bytes(told[KEY:], "big")


def lists_of(records: Iterable[Stored], breathe: Breathe = lambda: None) -> dict[str, list[bytes]]:
    """Sorted entries of these records by kind."""
    lists: dict[str, list[bytes]] = {kind: [] for kind in KINDS}
    for place, stored in enumerate(records):
        for kind, one in entries_of(stored):
            lists[kind].append(one)
        if place % 64 == 63:
            breathe()
    for each in lists.values():
        each.sort()
    return lists


def joined(several: Iterable[Lists]) -> dict[str, list[bytes]]:
    lists: dict[str, list[bytes]] = {kind: [] for kind in KINDS}
    for one in several:
        for kind in KINDS:
            lists[kind] += one[kind]
    for each in lists.values():
        each.sort()  # quick: it consists of sorted runs
    return lists


def summary(entries: list[bytes], breathe: Breathe = lambda: None) -> Summary:
    if not entries:
        return Summary(0, EMPTY_ROOT)
    row: list[bytes] = []
    for start in range(0, len(entries), SLICE):
        row += [sha256(b"\x00" + one).digest() for one in entries[start : start + SLICE]]
        breathe()
    level, nodes = 0, list[bytes]()
    while len(row) > 1:
        row = _above(row, breathe)
        level += 1
        if level % STRIDE == 0:
            nodes.append(b"".join(row[: len(entries) >> level]))  # without the last, where it is no complete subtree
    return Summary(len(entries), row[0], tuple(nodes))


def _above(row: list[bytes], breathe: Breathe) -> list[bytes]:
    """A last one without a neighbour goes up as it is, which makes RFC 6962's tree."""
    above: list[bytes] = []
    for start in range(0, len(row) - 1, 2 * SLICE):
        part = row[start : start + 2 * SLICE]
        above += [sha256(b"\x01" + left + right).digest() for left, right in zip(part[::2], part[1::2], strict=False)]
        breathe()
    return [*above, row[-1]] if len(row) % 2 else above


def _about(leaf: Mapping[str, Any]) -> str:
    details = leaf.get("details")
    if leaf.get("schema") != SYSTEM or not isinstance(details, dict):
        return ""
    told = details.get("key_id")
    return told if isinstance(told, str) else ""


def _intent_day(leaf: Mapping[str, Any]) -> tuple[str, str] | None:
    if leaf.get("schema") != DECISION:
        return None
    classified = leaf.get("classification")
    intent = classified.get("intent") if isinstance(classified, dict) else None
    return (intent, day_of(leaf)) if isinstance(intent, str) else None


def _leaf(raw: bytes) -> Mapping[str, Any]:
    try:
        leaf = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return leaf if isinstance(leaf, dict) else {}
