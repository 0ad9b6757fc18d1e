"""Batches whose commit was not answered: what became of them shows once this node has its turn again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from router.audit.tree.proof import NodeSource, stored_hashes

KEPT = 16_384
"""Records that were found to be there; whoever tries one of them again does so within a minute or two."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """`given`: hashes of the leaves as they came, by which they are known again; `written`: those that would stand in the tree."""

    first: int
    given: Sequence[bytes]
    written: Sequence[bytes]


class Unsettled:
    """Used on the ledger's thread. A leaf that is tried again has the hash that it had: times and salts make each another's."""

    def __init__(self) -> None:
        self._batches: list[_Batch] = []
        self._there: dict[bytes, int] = {}

    def add(self, first: int, given: Sequence[bytes], written: Sequence[bytes]) -> None:
        """They were to stand from the index `first` on."""
        self._batches.append(_Batch(first, given, written))

    def settle(self, source: NodeSource, size: int) -> None:
        """In a turn, in which no commit is under way: each batch stands whole where it was to stand among `size` records, or nowhere."""
        while self._batches:
            batch = self._batches[-1]
            end = batch.first + len(batch.written)
            if end <= size and stored_hashes(source, 0, batch.first, end) == list(batch.written):
                self._there.update(zip(batch.given, range(batch.first, end), strict=True))
            self._batches.pop()
        while len(self._there) > KEPT:
            del self._there[next(iter(self._there))]

    def found(self, hashes: Sequence[bytes]) -> dict[int, int]:
        """By their places, the indexes of those leaves that are there."""
        if not self._there:
            return {}
        return {place: self._there[each] for place, each in enumerate(hashes) if each in self._there}
