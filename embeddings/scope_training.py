"""Teaches the scope gate what out-of-scope looks like by holding whole intents out of the head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import rankdata

from embeddings.folds import intent_groups
from embeddings.head import LinearHead
from embeddings.index import ExampleIndex, build_index
from embeddings.material import Encoded, Lesson, Texts
from embeddings.numeric import Floats, Labels
from embeddings.parallel import in_order
from embeddings.ports import Matrix
from embeddings.scope import FEATURES, ScopeGate
from embeddings.scoring import score
from embeddings.training import fit_softmax

# Half of what the gate learns about "outside" comes from given background texts, once there are this many.
ENOUGH_BACKGROUND = 20
RIDGE = 1e-3
# Of texts about intents, where no background is there to say what else comes.
MOST_REFUSED = 0.05
CONFIDENCE = FEATURES.index("log_top_probability")


@dataclass(frozen=True, slots=True)
class ScopeTraining:
    """labels (n,), of which the first `examples` are no names; folds (n,) of as many as intent_groups has groups, -1 for what is never held
    out; `encoded`: for each group that is held back, by an encoder that had its `scope_lesson`; there may be fewer than groups. `strength`
    and `temperature` are those of the head the gate is for; `two_in_one`: see `gate_of`.
    """

    intents: tuple[str, ...]
    labels: Labels
    examples: int
    folds: Labels
    encoded: Sequence[Encoded]
    strength: float
    temperature: float
    two_in_one: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """Feature rows a head gave: of unseen examples of intents it knows (which ones, say `rows`), of intents it does not, of background, and
    of sums of two unseen examples."""

    known: Floats
    rows: Labels
    unknown: Floats
    background: Floats
    mixed: Floats


@dataclass(frozen=True, slots=True)
class TrainedGate:
    """`in_scope` (m,): the gate's probabilities for held-out examples, `rows` (m,) which these are. `outside` (k,) and
    `outside_confidences` (k,): the same of background where it was `given`, else of unknown intents, with the confidence they would have
    had; `mixed` and `mixed_confidences` (j,): of sums of two examples. `point`: where the gate tells inside and outside apart best.
    `auroc`: how well it told its own training rows apart (its few coefficients can hardly overfit them)."""

    gate: ScopeGate
    in_scope: Floats
    rows: Labels
    outside: Floats
    outside_confidences: Floats
    mixed: Floats
    mixed_confidences: Floats
    point: float
    given: bool
    auroc: float


def train_gate(data: ScopeTraining, progress: Callable[[int, int], None]) -> TrainedGate:
    groups = intent_groups(data.intents)
    observed = in_order(lambda fold: _observe_fold(data, groups, fold), range(len(data.encoded)), progress)
    return gate_of(
        Observed(
            np.concatenate([fold.known for fold in observed]),
            np.concatenate([fold.rows for fold in observed]),
            np.concatenate([fold.unknown for fold in observed]),
            np.concatenate([fold.background for fold in observed]),
            np.concatenate([fold.mixed for fold in observed]),
        ),
        data.two_in_one,
    )


def gate_of(seen: Observed, two_in_one: bool) -> TrainedGate:
    """`two_in_one`: the gate also refuses texts that are two, as much as it refuses what is about none."""
    table = np.concatenate([seen.known, seen.unknown, seen.background])
    in_scope = np.arange(len(table)) < len(seen.known)
    weights = _weights(len(seen.known), len(seen.unknown), len(seen.background))
    gate = _with_mixtures(table, weights, seen) if two_in_one and len(seen.mixed) else fit_gate(table, in_scope, weights)
    scores = np.array([gate.probability(tuple(row)) for row in table.tolist()])
    given = len(seen.background) >= ENOUGH_BACKGROUND
    beyond = seen.background if given else seen.unknown
    start = len(table) - len(seen.background) if given else len(seen.known)
    return TrainedGate(
        gate,
        in_scope=scores[in_scope],
        rows=seen.rows,
        outside=scores[start : start + len(beyond)],
        outside_confidences=np.exp(beyond[:, CONFIDENCE]),
        mixed=np.array([gate.probability(tuple(row)) for row in seen.mixed.tolist()]),
        mixed_confidences=np.exp(seen.mixed[:, CONFIDENCE]),
        point=_point(scores, in_scope, weights, given),
        given=given,
        auroc=auroc(scores, in_scope),
    )


def _with_mixtures(table: Floats, weights: Floats, seen: Observed) -> ScopeGate:
    rows = np.concatenate([table, seen.mixed])
    inside = np.arange(len(rows)) < len(seen.known)
    halved = np.concatenate([np.where(inside[: len(table)], weights, weights / 2), np.full(len(seen.mixed), 0.5 / len(seen.mixed))])
    return fit_gate(rows, inside, halved)


def _point(scores: Floats, in_scope: NDArray[np.bool_], weights: Floats, given: bool) -> float:
    """Intents that were held back lie closer to the others than what is about none, so that a cut between these would be too high."""
    cut = best_cut(scores, in_scope, weights)
    return cut if given or not in_scope.any() else min(cut, float(np.quantile(scores[in_scope], MOST_REFUSED)))


def best_cut(scores: Floats, in_scope: NDArray[np.bool_], weights: Floats) -> float:
    """The score from which on a row counts as in scope, so that the weight of what is on the right side is highest; 0.5 where one kind is
    missing."""
    if in_scope.all() or not in_scope.any():
        return 0.5
    order = np.argsort(scores, kind="stable")
    signed = np.where(in_scope, -weights, weights)[order]
    gained = np.append(0.0, np.cumsum(signed))[:-1]  # by refusing everything below this place
    first_of_run = np.append(True, scores[order][1:] > scores[order][:-1])
    place = int(np.argmax(np.where(first_of_run, gained, -np.inf)))
    return float(scores[order][place])


def _weights(known: int, unknown: int, background: int) -> Floats:
    """Inside and outside weigh the same; so do, once there is enough of it, the two kinds of outside."""
    share = (0.5 if unknown else 1.0) * min(1.0, background / ENOUGH_BACKGROUND)
    groups = ((known, 1.0), (unknown, 1.0 - share), (background, share))
    return np.concatenate([np.full(count, weight / max(count, 1)) for count, weight in groups])


def scope_lesson(intents: tuple[str, ...], labels: Labels, folds: Labels, background: int, fold: int) -> Lesson:
    """Without one group of intents, one fold of the examples of all others, and a part of the background."""
    groups = intent_groups(intents)
    return Lesson((groups[labels] != fold) & (folds != fold), np.arange(background) % (int(groups.max()) + 1) != fold)


def lesson_rows(texts: Texts, lesson: Lesson) -> tuple[Labels, Labels]:
    """What is to be learnt from, as rows of the texts with the background after them, and their labels from 0 on. Background is one class
    more where there is enough of it."""
    rows = np.flatnonzero(lesson.texts)
    _, labels = np.unique(texts.labels[rows], return_inverse=True)
    others = np.flatnonzero(lesson.background)
    if len(others) < ENOUGH_BACKGROUND:
        return rows, labels
    return np.append(rows, len(texts.texts) + others), np.append(labels, np.full(len(others), labels.max() + 1))


def _observe_fold(data: ScopeTraining, groups: Labels, fold: int) -> Observed:
    encoded = data.encoded[fold]
    lesson = scope_lesson(data.intents, data.labels, data.folds, len(encoded.background), fold)
    outside = groups[data.labels] == fold
    held = ~outside & (data.folds == fold)
    kept, others = lesson.texts, lesson.background
    renumbered, labels = np.unique(data.labels[kept], return_inverse=True)
    intents = tuple(data.intents[row] for row in renumbered)
    vectors, rows = with_background(encoded.vectors[kept], labels, encoded.background[others], len(intents))
    fitted = fit_softmax(vectors, rows, int(rows.max()) + 1, data.strength)
    head = LinearHead(fitted.weights, fitted.bias.astype(np.float32), intents)
    index = build_index(encoded.vectors[kept], labels, len(intents))
    unseen = outside & (np.arange(len(data.labels)) < data.examples)
    mixed = mixtures(encoded.vectors[held], data.labels[held])
    parts = (encoded.vectors[held], encoded.vectors[unseen], encoded.background[~others], mixed)
    known, unknown, background, sums = (features(head, index, data.temperature, part) for part in parts)
    return Observed(known, np.flatnonzero(held), unknown, background, sums)


def mixtures(vectors: Matrix, labels: Labels) -> Matrix:
    """Each row and another one, of another intent, as one text: the sum's direction. Which one is fixed by their places."""
    if not len(vectors):
        return vectors
    other = np.roll(np.arange(len(vectors)), len(vectors) // 2 + 1)
    sums = (vectors + vectors[other])[labels != labels[other]]
    unit: Matrix = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return unit


def with_background(vectors: Matrix, labels: Labels, background: Matrix, classes: int) -> tuple[Matrix, Labels]:
    """Background as one class more, where there is enough of it."""
    if len(background) < ENOUGH_BACKGROUND:
        return vectors, labels
    return np.concatenate([vectors, background]), np.append(labels, np.full(len(background), classes))


def features(head: LinearHead, index: ExampleIndex, temperature: float, vectors: Matrix) -> Floats:
    """Shape (n, len(FEATURES)), as they are when serving."""
    rows = [score(head, index, temperature, vector).features for vector in vectors]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(FEATURES))


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
