"""The one path from a vector to scores, used when training the gate and when serving: what was fitted is what runs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import EmbeddingsError
from embeddings.head import LinearHead
from embeddings.ports import Index, Vector
from embeddings.scope import scope_features

CANDIDATES = 5


@dataclass(frozen=True, slots=True)
class Scores:
    """`order`: the best intents' rows, best first, with their logits and calibrated probabilities."""

    order: list[int]
    raw: list[float]
    calibrated: list[float]
    features: tuple[float, ...]


def score(head: LinearHead, index: Index, temperature: float, vector: Vector) -> Scores:
    logits = head.logits(vector)
    background = float(logits[-1]) if head.knows_background else None
    logits = logits[: len(head.intents)]
    order = _best(logits)
    raw: list[float] = logits[order].tolist()
    top = raw[0]
    shifted = logits - logits.dtype.type(top)
    calibrated_norm = float(np.exp(shifted / logits.dtype.type(temperature)).sum())
    if not math.isfinite(calibrated_norm):
        raise EmbeddingsError("not_finite", "The text's vector is not finite, so nothing can be concluded from it.")
    log_norm = math.log(float(np.exp(shifted).sum()))
    calibrated = [math.exp((value - top) / temperature) / calibrated_norm for value in raw]
    features = scope_features(
        top=top,
        second=raw[1] if len(raw) > 1 else top,
        log_norm=top + log_norm,
        classes=len(logits),
        log_top_probability=-math.log(calibrated_norm),
        nearest=index.nearest(vector, order[0]),
        background=background,
    )
    return Scores(order, raw, calibrated, features)


def _best(logits: NDArray[np.float32]) -> list[int]:
    """Rows of the highest logits, best first; equal logits in the order of the catalog."""
    if len(logits) <= CANDIDATES:
        rows = np.arange(len(logits))
    else:
        rows = np.sort(np.argpartition(logits, -CANDIDATES)[-CANDIDATES:])
    ranked: list[int] = rows[np.argsort(-logits[rows], kind="stable")].tolist()
    return ranked
