from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embeddings.numeric import Labels
from embeddings.ports import Matrix, Vector

MAX_PER_INTENT = 256


@dataclass(frozen=True, slots=True)
class ExampleIndex:
    """See `ports.Index`; in memory, one block per intent: rows offsets[i]:offsets[i + 1] of `vectors` belong to intent i.

    Only the top intent's block is compared, so the cost does not grow with the number of intents.
    """

    vectors: Matrix
    offsets: Labels

    def nearest(self, vector: Vector, intent: int) -> float:
        """The highest cosine between a unit vector and the intent's examples; 0 when it has none."""
        start, end = self.offsets[intent], self.offsets[intent + 1]
        if start == end:
            return 0.0
        return float(np.vecdot(self.vectors[start:end], vector).max())

    def close(self) -> None:
        """There is nothing to let go of."""


def build_index(vectors: Matrix, labels: Labels, classes: int) -> ExampleIndex:
    """Keeps at most MAX_PER_INTENT examples of an intent, evenly spaced in the order given."""
    kept = [_evenly(np.flatnonzero(labels == label)) for label in range(classes)]
    offsets = np.cumsum([0, *(len(rows) for rows in kept)])
    return ExampleIndex(np.ascontiguousarray(vectors[np.concatenate(kept)]), offsets.astype(np.intp))


def _evenly(rows: Labels) -> Labels:
    if len(rows) <= MAX_PER_INTENT:
        return rows
    return rows[np.linspace(0, len(rows) - 1, MAX_PER_INTENT).astype(np.intp)]
