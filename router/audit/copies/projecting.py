"""Projections: copies of the ledger in analytical stores. They follow it, are never the acknowledgement, and can be made again at any time.

A projection says of itself up to where it is complete, durably and only after the data: a crash between the two leaves data that is
written once more (or found to be there), never a hole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Any, Protocol

import orjson

from router.audit.questions.reader import LedgerReader, Stored
from router.audit.records.table import Row, flat
from router.audit.tree.merkle import leaf_hash
from router.errors import AuditError

FOREIGN = "projection_foreign"

Pair = tuple[int, bytes]
"""(record, leaf hash)"""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a projection wrote down about the records [start, end) when it took them in."""

    start: int
    end: int
    digest: str


class Projection(Protocol):
    """Holds no state between two calls: another process may have written in between. Raises AuditError `projection_unavailable`."""

    batch: int

    def complete(self) -> tuple[str, int, bytes]:
        """(origin of the ledger, records, leaf hash of the last of them); ("", 0, b"") for one that was never written to."""

    def extend(self, origin: str, rows: Sequence[Row], digest: str) -> None:
        """The records that follow; all of them count as complete once this returns, and after a crash all or none."""

    def reset(self) -> None:
        """Empty. After a crash in it at least nothing counts as complete."""

    def kept(self) -> Iterator[Kept] | None:
        """In order; None where the data cannot be read back."""

    def contents(self, start: int, end: int) -> Iterable[Pair]:
        """What is really there of the records [start, end), in order."""


def step(reader: LedgerReader, projection: Projection) -> tuple[int, int]:
    """Takes the next batch in. (records in the projection, records in the ledger). Raises AuditError `projection_foreign` when the
    projection is of another ledger, or of another past of this one: then it is to be made again on purpose, not silently."""
    size = reader.size()
    complete = _complete(reader, projection, size)
    batch = list(islice(reader.records(complete, size), projection.batch))
    if not batch:
        return complete, size
    if [stored.index for stored in batch] != list(range(complete, complete + len(batch))):
        raise AuditError(f"Records are missing after record {complete}; run a verification.", "audit_record_missing")
    rows = [_row(stored) for stored in batch]
    projection.extend(reader.origin(), rows, digest((stored.index, leaf_hash(stored.leaf)) for stored in batch))
    return complete + len(batch), size


def differences(reader: LedgerReader, projection: Projection) -> Iterator[tuple[int, str]]:
    """(first record that is concerned, what is wrong): what the projection holds against what the ledger holds."""
    try:
        complete = _complete(reader, projection, reader.size())
    except AuditError as error:
        if error.code != FOREIGN:
            raise
        yield 0, str(error)
        return
    kept = projection.kept()
    if kept is None:
        return
    expected = 0
    for part in kept:
        if part.start != expected:
            first, last = sorted((part.start, expected))
            yield first, f"Records {first} to {last - 1} are missing, or twice there."
        expected = part.end
        yield from _difference(reader, projection, part)
    if expected != complete:
        yield min(expected, complete), f"It says that it is complete up to record {complete} and holds records up to {expected}."


def digest(pairs: Iterable[Pair]) -> str:
    """SHA-256 over index (8 bytes, big-endian) and leaf hash of each."""
    hashed = sha256()
    for index, leaf in pairs:
        hashed.update(index.to_bytes(8, "big") + leaf)
    return hashed.hexdigest()


def _complete(reader: LedgerReader, projection: Projection, size: int) -> int:
    origin, complete, last = projection.complete()
    if complete and (origin != reader.origin() or complete > size or reader.nodes(0, complete - 1, complete) != [last]):
        raise AuditError("The projection is of another ledger, or of another past of this one; rebuild it.", FOREIGN)
    return complete


def _difference(reader: LedgerReader, projection: Projection, part: Kept) -> Iterator[tuple[int, str]]:
    ledger = list(enumerate(reader.nodes(0, part.start, part.end), part.start))
    if digest(ledger) != part.digest:
        yield part.start, f"Records {part.start} to {part.end - 1} were taken in as others than the ledger's."
        return
    there = list(projection.contents(part.start, part.end))
    if there != ledger:
        first = next((mine[0] for mine, its in zip(ledger, there, strict=False) if mine != its), part.start + min(len(there), len(ledger)))
        yield first, f"It holds {len(there)} records from {part.start} to {part.end - 1}; the first difference is at record {first}."


def _row(stored: Stored) -> Row:
    return {**flat(stored.index, _leaf(stored.leaf), stored.key_id, leaf_hash(stored.leaf)), "leaf": stored.leaf.decode("utf-8", "replace")}


def _leaf(raw: bytes) -> dict[str, Any]:
    try:
        leaf = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return leaf if isinstance(leaf, dict) else {}
