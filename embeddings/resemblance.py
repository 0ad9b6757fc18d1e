"""Which examples of other intents an example resembles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embeddings.numeric import Floats, Labels
from embeddings.ports import Matrix

RIVALS = 2


@dataclass(frozen=True, slots=True)
class Nearest:
    """By place among the held-out examples: the other intent with the most similar example, that example's row, its cosine, and the cosine
    of the most similar other example of the same intent."""

    rival: Labels
    rival_row: Labels
    rival_similarity: Floats
    own_similarity: Floats


def nearest_rivals(vectors: Matrix, labels: Labels, rows: Labels, logits: Floats) -> Nearest:
    """Among the RIVALS other intents that score highest, so that the cost grows with the examples and not with their square."""
    truth = labels[rows]
    others = logits.copy()
    others[np.arange(len(rows)), truth] = -np.inf
    ranked = np.argsort(-others, axis=1, kind="stable")[:, : min(RIVALS, logits.shape[1] - 1)]
    members = [np.flatnonzero(labels == label) for label in range(logits.shape[1])]
    own, _ = _most_similar(vectors, rows, truth, members)
    rival, row, best = ranked[:, 0].copy(), np.zeros(len(rows), dtype=np.intp), np.full(len(rows), -np.inf)
    for rank in range(ranked.shape[1]):
        similarity, found = _most_similar(vectors, rows, ranked[:, rank], members)
        better = similarity > best
        rival[better], row[better], best[better] = ranked[better, rank], found[better], similarity[better]
    return Nearest(rival, row, best, own)


def crossings(nearest: Nearest) -> NDArray[np.bool_]:
    """Whether the most similar example is of another intent."""
    crossed: NDArray[np.bool_] = nearest.rival_similarity > nearest.own_similarity
    return crossed


def _most_similar(vectors: Matrix, rows: Labels, intents: Labels, members: list[Labels]) -> tuple[Floats, Labels]:
    """The highest cosine between each row and the examples of the intent beside it, itself left out; and whose it is."""
    best, found = np.empty(len(rows)), np.zeros(len(rows), dtype=np.intp)
    for intent in np.unique(intents).tolist():
        places = np.flatnonzero(intents == intent)
        table = vectors[rows[places]] @ vectors[members[intent]].T
        table[rows[places][:, None] == members[intent][None, :]] = -np.inf
        column = table.argmax(axis=1)
        best[places], found[places] = table[np.arange(len(places)), column], members[intent][column]
    return best, found
