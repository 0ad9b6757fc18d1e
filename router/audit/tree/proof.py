"""Proofs from stored hashes. Kept are the leaf hashes and every eighth level of the tree; levels between are computed from at most 256."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

from router.audit.tree.merkle import CompactRange, Subtree, consistency_proof, inclusion_proof, node_hash, peak_positions
from router.errors import AuditError

STRIDE = 8


class NodeSource(Protocol):
    def nodes(self, level: int, start: int, end: int) -> list[bytes]:
        """Stored hashes at a level that is a multiple of 8 (0: leaf hashes), indexes [start, end)."""


def subtrees(source: NodeSource) -> Subtree:
    """A reader of subtree hashes that remembers what it computed. Only for trees that the source holds in full."""

    @lru_cache(maxsize=4096)
    def subtree(level: int, index: int) -> bytes:
        below = level % STRIDE
        if below:
            start, end = index << below, (index + 1) << below
            return folded(stored_hashes(source, level - below, start, end))
        return stored_hashes(source, level, index, index + 1)[0]

    return subtree


def peaks(source: NodeSource, size: int) -> list[bytes]:
    subtree = subtrees(source)
    return [subtree(level, index) for level, index in peak_positions(size)]


def tree_root(source: NodeSource, size: int) -> bytes:
    return CompactRange(peaks(source, size), size).root()


def prove_inclusion(source: NodeSource, index: int, size: int) -> list[bytes]:
    return inclusion_proof(index, size, subtrees(source))


def prove_consistency(source: NodeSource, old: int, new: int) -> list[bytes]:
    return consistency_proof(old, new, subtrees(source))


def stored_hashes(source: NodeSource, level: int, start: int, end: int) -> list[bytes]:
    """Raises AuditError where there is a hole."""
    found = source.nodes(level, start, end)
    if len(found) != end - start:
        raise AuditError(f"Stored hashes are missing at level {level} between {start} and {end}.", "audit_tree_broken")
    return found


def folded(hashes: list[bytes]) -> bytes:
    """The hash of the complete subtree over these, as many as a power of two."""
    while len(hashes) > 1:
        hashes = [node_hash(left, right) for left, right in zip(hashes[::2], hashes[1::2], strict=True)]
    return hashes[0]
