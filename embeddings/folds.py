"""Who is held out when. Deterministic, and independent of how the examples happen to be ordered."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from embeddings.numeric import Labels

FOLDS = 5


def stratified_folds(texts: Sequence[str], labels: Labels, folds: int = FOLDS) -> Labels:
    """The fold of each example; those that differ in case only are in one, for they are the same to an encoder. An intent with a single
    example is never held out (-1): no head could know it then."""
    assigned = np.full(len(texts), -1, dtype=np.intp)
    for label in range(int(labels.max()) + 1):
        members = sorted(np.flatnonzero(labels == label).tolist(), key=lambda row: _shuffled(texts[row]))
        places: dict[str, int] = {}
        for row in members:
            places.setdefault(texts[row].casefold(), len(places))
        if len(places) > 1:
            for row in members:
                # The label shifts the start, so that small intents do not all put their surplus in the first folds.
                assigned[row] = (places[texts[row].casefold()] + label) % folds
    return assigned


def intent_groups(intents: Sequence[str], groups: int = FOLDS) -> Labels:
    """The group of each intent; every group leaves at least one intent outside it."""
    assigned = np.empty(len(intents), dtype=np.intp)
    order = sorted(range(len(intents)), key=lambda index: _shuffled(intents[index]))
    for position, index in enumerate(order):
        assigned[index] = position % min(groups, len(intents))
    return assigned


def _shuffled(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
