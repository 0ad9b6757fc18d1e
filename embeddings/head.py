from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embeddings.ports import Matrix, Vector


@dataclass(frozen=True, slots=True)
class LinearHead:
    """Intent scores of a vector: weights (intents, dimensions), bias (intents,), intents in the order of the rows."""

    weights: Matrix
    bias: Vector
    intents: tuple[str, ...]

    def logits(self, vector: Vector) -> Vector:
        """Shape (intents,)."""
        # vecdot, not @: a threaded BLAS would wake its pool for this, which costs more than the product.
        scores: Vector = np.vecdot(self.weights, vector)
        scores += self.bias
        return scores
