from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.intp]


def log_sum_exp(logits: Floats) -> Floats:
    """Over the last axis of (n, k); shape (n,)."""
    top = logits.max(axis=1)
    total: Floats = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return total


def softmax(logits: Floats) -> Floats:
    """Over the last axis of (n, k)."""
    shares: Floats = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return shares


def stacked(encode_one: Callable[[str], NDArray[np.float32]], texts: Sequence[str], dimensions: int) -> NDArray[np.float32]:
    """One text after the other, as rows of (len(texts), dimensions)."""
    rows = np.empty((len(texts), dimensions), dtype=np.float32)
    for index, text in enumerate(texts):
        rows[index] = encode_one(text)
    return rows
