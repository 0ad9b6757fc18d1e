"""The hashes that are stored above the leaves, held against the records. No root is computed from them here, but every proof is made with
them: one that is wrong makes evidence that nobody can verify, and keeps a node from starting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from router.audit.tree.proof import STRIDE, NodeSource, folded

RUN = 1 << STRIDE
Ranges = Iterator[tuple[int, int]]
"""[first, end) records"""


def wrong_runs(source: NodeSource, start: int, hashes: Sequence[bytes]) -> Ranges:
    """Of these records, the first of which is `start`, the complete runs of 256 whose stored hash is another one, or none. Raises
    AuditError."""
    first, end = -(-start // RUN), (start + len(hashes)) // RUN
    stored = source.nodes(STRIDE, first, end) if first < end else []
    for place, run in enumerate(range(first, end)):
        own = list(hashes[run * RUN - start : (run + 1) * RUN - start])
        if stored[place : place + 1] != [folded(own)]:
            yield run * RUN, (run + 1) * RUN


def wrong_above(source: NodeSource, size: int) -> Ranges:
    """The same of longer runs among `size` records, where those of 256 are right; of the shortest that are not. Raises AuditError."""
    level, wrong = 2 * STRIDE, False
    while size >> level and not wrong:
        for index in range(size >> level):
            below = source.nodes(level - STRIDE, index * RUN, (index + 1) * RUN)
            if len(below) != RUN or source.nodes(level, index, index + 1) != [folded(below)]:
                wrong = True
                yield index << level, (index + 1) << level
        level += STRIDE
