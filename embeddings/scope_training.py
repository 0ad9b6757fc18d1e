"""Teaches the scope gate what out-of-scope looks like by holding whole intents out of the head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import rankdata

from embeddings.folds import intent_groups
from embeddings.head import LinearHead
from embeddings.index import build_index
from embeddings.numeric import Floats, Labels
from embeddings.parallel import in_order
from embeddings.ports import Matrix
from embeddings.scope import FEATURES, ScopeGate
from embeddings.scoring import score
from embeddings.training import fit_softmax

# Half of what the gate learns about "outside" comes from given background texts, once there are this many.
ENOUGH_BACKGROUND = 20
RIDGE = 1e-3


@dataclass(frozen=True, slots=True)
class ScopeTraining:
    """vectors (n, d), labels (n,), folds (n,) with as many folds as intent_groups has groups, background (m, d).

    `strength` and `temperature` are those of the head the gate is for.
    """

    intents: tuple[str, ...]
    vectors: Matrix
    labels: Labels
    folds: Labels
    background: Matrix
    strength: float
    temperature: float


@dataclass(frozen=True, slots=True)
class Observed:
    """Feature rows a fold's head gave: of unseen examples of intents it knows, of intents it does not, of background."""

    known: Floats
    unknown: Floats
    background: Floats


@dataclass(frozen=True, slots=True)
class TrainedGate:
    """`in_scope` (n,): the gate's probabilities for held-out examples of intents; `auroc`: how well it told its own
    training rows apart (its few coefficients can hardly overfit them)."""

    gate: ScopeGate
    in_scope: Floats
    auroc: float


def train_gate(data: ScopeTraining, progress: Callable[[int, int], None]) -> TrainedGate:
    groups = intent_groups(data.intents)
    total = int(groups.max()) + 1
    observed = in_order(lambda fold: _observe_fold(data, groups, fold, total), range(total), progress)
    known = np.concatenate([fold.known for fold in observed])
    unknown = np.concatenate([fold.unknown for fold in observed])
    background = np.concatenate([fold.background for fold in observed])
    features = np.concatenate([known, unknown, background])
    in_scope = np.arange(len(features)) < len(known)
    gate = fit_gate(features, in_scope, _weights(len(known), len(unknown), len(background)))
    scores = np.array([gate.probability(tuple(row)) for row in features.tolist()])
    return TrainedGate(gate, scores[in_scope], auroc(scores, in_scope))


def _weights(known: int, unknown: int, background: int) -> Floats:
    """Inside and outside weigh the same; so do, once there is enough of it, the two kinds of outside."""
    share = 0.5 * min(1.0, background / ENOUGH_BACKGROUND)
    groups = ((known, 1.0), (unknown, 1.0 - share), (background, share))
    return np.concatenate([np.full(count, weight / max(count, 1)) for count, weight in groups])


def _observe_fold(data: ScopeTraining, groups: Labels, fold: int, total: int) -> Observed:
    outside = groups[data.labels] == fold
    held = ~outside & (data.folds == fold)
    kept = ~outside & ~held
    renumbered, labels = np.unique(data.labels[kept], return_inverse=True)
    intents = tuple(data.intents[row] for row in renumbered)
    fitted = fit_softmax(data.vectors[kept], labels, len(intents), data.strength)
    head = LinearHead(fitted.weights, fitted.bias.astype(np.float32), intents)
    index = build_index(data.vectors[kept], labels, len(intents))

    def features(vectors: Matrix) -> Floats:
        rows = [score(head, index, data.temperature, vector).features for vector in vectors]
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(FEATURES))

    return Observed(features(data.vectors[held]), features(data.vectors[outside]), features(data.background[fold::total]))


def fit_gate(features: Floats, in_scope: NDArray[np.bool_], weights: Floats) -> ScopeGate:
    """Weighted logistic regression on standardised features (n, len(FEATURES)); folded back to raw features."""
    shares = weights / weights.sum()
    mean = shares @ features
    spread = np.sqrt(shares @ (features - mean) ** 2)
    spread[spread < 1e-9] = np.inf  # a feature that never varies says nothing
    standard = (features - mean) / spread
    signs = np.where(in_scope, 1.0, -1.0)

    def loss_and_gradient(flat: Floats) -> tuple[float, Floats]:
        margins = signs * (standard @ flat[:-1] + flat[-1])
        slope = -shares * signs * np.exp(-np.logaddexp(0.0, margins))
        loss = shares @ np.logaddexp(0.0, -margins) + 0.5 * RIDGE * np.sum(flat[:-1] ** 2)
        return float(loss), np.append(slope @ standard + RIDGE * flat[:-1], slope.sum())

    found = minimize(loss_and_gradient, np.zeros(features.shape[1] + 1), jac=True, method="L-BFGS-B")
    coefficients = found.x[:-1] / spread
    return ScopeGate(tuple(coefficients.tolist()), float(found.x[-1] - coefficients @ mean))


def auroc(scores: Floats, positive: NDArray[np.bool_]) -> float:
    """The chance that a positive scores above a negative, ties counted half; 0.5 when there is only one kind."""
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if positives == 0 or negatives == 0:
        return 0.5
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))
