"""A run of leaves [start, end) with the hashes around it: what shows that a run is whole, and at its place in a tree."""

from __future__ import annotations

from collections.abc import Iterator

from router.audit.tree.merkle import CompactRange, Subtree, node_hash, range_hash
from router.errors import AuditError

WRONG = "certificate_wrong"


def boundary_hashes(start: int, end: int, size: int, subtree: Subtree) -> list[bytes]:
    """The hashes of the largest subtrees of a tree of `size` leaves without a leaf of [start, end), from left to right."""
    found: list[bytes] = []

    def walk(low: int, high: int) -> None:
        if high <= start or low >= end:
            found.append(range_hash(low, high, subtree))
        elif low < start or high > end:
            middle = _middle(low, high)
            walk(low, middle)
            walk(middle, high)

    if size:
        walk(0, size)
    return found


def root_of_run(start: int, end: int, size: int, boundary: Iterator[bytes], leaf_hashes: Iterator[bytes]) -> bytes:
    """The root that the run's leaf hashes and `boundary_hashes` lead to. Raises AuditError where one of them ends too early."""

    def walk(low: int, high: int) -> bytes:
        if high <= start or low >= end:
            return _next(boundary)
        if low >= start and high <= end:
            tree = CompactRange()
            for _ in range(low, high):
                tree.append(_next(leaf_hashes))
            return tree.root()
        middle = _middle(low, high)
        left = walk(low, middle)
        return node_hash(left, walk(middle, high))

    return walk(0, size) if size else CompactRange().root()


def _middle(low: int, high: int) -> int:
    return low + (1 << ((high - low - 1).bit_length() - 1))


def _next(source: Iterator[bytes]) -> bytes:
    hashed = next(source, None)
    if hashed is None:
        raise AuditError("The certificate ends before its records do.", WRONG)
    return hashed
