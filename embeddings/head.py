from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embeddings.ports import Matrix, Vector


@dataclass(frozen=True, slots=True)
class LinearHead:
    """Intent scores of a vector: weights (rows, dimensions), bias (rows,), intents in the order of the rows. One row more than intents is
    that of the background: texts about none of them."""

    weights: Matrix
    bias: Vector
    intents: tuple[str, ...]

    @property
    def knows_background(self) -> bool:
        return len(self.bias) > len(self.intents)

    def logits(self, vector: Vector) -> Vector:
        """Shape (rows,)."""
        # vecdot, not @: a threaded BLAS would wake its pool for this, which costs more than the product.
        scores: Vector = np.vecdot(self.weights, vector)
        scores += self.bias
        return scores
