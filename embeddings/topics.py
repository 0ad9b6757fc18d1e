"""Texts that are about the same, without anybody having said what: average linkage over cosines, the same for the same texts."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import numpy as np

from embeddings.ports import Encoder, Matrix

MOST = 2000  # distances grow with the square


def topics(texts: Sequence[str], encoder: Encoder, likeness: float, least: int) -> list[list[int]]:
    """Places of texts that belong together, the largest group first; groups of fewer than `least` are none. `likeness`: the mean cosine
    between two groups from which on they are one."""
    if not texts:
        return []
    return groups(encoder.encode(list(texts)), likeness, least)


def groups(vectors: Matrix, likeness: float, least: int) -> list[list[int]]:
    """Vectors of length one, at most `MOST`."""
    if len(vectors) > MOST:
        raise ValueError(f"at most {MOST} texts are grouped at once")
    if len(vectors) < max(2, least):
        return [[0]] if len(vectors) == 1 and least <= 1 else []
    hierarchy = import_module("scipy.cluster.hierarchy")
    upper = np.triu_indices(len(vectors), 1)
    distances = np.clip(1.0 - (vectors @ vectors.T)[upper], 0.0, 2.0).astype(np.float64)
    labels = hierarchy.fcluster(hierarchy.linkage(distances, "average"), 1.0 - likeness, "distance")
    found: dict[int, list[int]] = {}
    for place, label in enumerate(labels.tolist()):
        found.setdefault(label, []).append(place)
    return sorted((each for each in found.values() if len(each) >= least), key=lambda each: (-len(each), each))
