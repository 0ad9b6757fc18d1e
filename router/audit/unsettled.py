"""Batches whose commit was not answered: what became of them shows once this node has its turn again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from router.audit.tree.proof import NodeSource, stored_hashes

KEPT_S = 600.0
"""For how long entries are known again once it has shown that they are there: whoever tries one again does so within a minute or two."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """`given`: hashes of the leaves as they came, by which they are known again; `written`: those that would stand in the tree."""

    first: int
    given: Sequence[bytes]
    written: Sequence[bytes]
    settled: float = 0.0

    def indexes(self) -> Iterator[tuple[bytes, int]]:
        return zip(self.given, range(self.first, self.first + len(self.given)), strict=True)

    def stands(self, source: NodeSource, size: int) -> bool:
        end = self.first + len(self.written)
        return end <= size and stored_hashes(source, 0, self.first, end) == list(self.written)


class Unsettled:
    """Used on the ledger's thread. A leaf that is tried again has the hash that it had: times and salts make each another's."""

    def __init__(self) -> None:
        self._open: list[_Batch] = []
        self._there: list[_Batch] = []

    def add(self, first: int, given: Sequence[bytes], written: Sequence[bytes]) -> None:
        """They were to stand from the index `first` on."""
        if given:
            self._open.append(_Batch(first, given, written))

    def there(self, source: NodeSource, size: int) -> list[_Batch]:
        """In a turn, in which no other commit is under way: each batch stands whole where it was to stand among `size` records, or nowhere
        and never will. Only a commit of that very turn makes this so for good: what another server does not have is not there."""
        if not (self._open or self._there):
            return []
        oldest = time.monotonic() - KEPT_S
        self._there = [batch for batch in self._there if batch.settled > oldest]
        return [*self._there, *(batch for batch in self._open if batch.stands(source, size))]

    def settle(self, there: list[_Batch]) -> None:
        """The turn that found these was committed."""
        if there or self._open:
            now = time.monotonic()
            self._open, self._there = [], [replace(batch, settled=batch.settled or now) for batch in there]


def places(there: Sequence[_Batch], hashes: Sequence[bytes]) -> Mapping[int, int]:
    """By their places, the indexes of those leaves that stand in one of these batches."""
    if not there:
        return {}
    known = {leaf: index for batch in there for leaf, index in batch.indexes()}
    return {place: known[each] for place, each in enumerate(hashes) if each in known}
