"""Multinomial logistic regression on frozen vectors, and its out-of-fold scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from embeddings.calibration import fit_temperature, negative_log_likelihood
from embeddings.numeric import Floats, Labels, log_sum_exp
from embeddings.parallel import in_order
from embeddings.ports import Matrix

# Run to convergence: scikit-learn's default tolerance stops two points short on CLINC150, below 1e-5 nothing is gained.
GRADIENT_TOLERANCE = 1e-5
MAX_ITERATIONS = 2000
# Inverse strength of the ridge, in the units of a summed loss.
STRENGTHS = (3.0, 10.0, 30.0, 100.0, 300.0)
# With so many examples one fold tells the strengths apart as well as all of them do, at a fifth of the cost.
MANY = 3000


@dataclass(frozen=True, slots=True)
class Coefficients:
    """weights (classes, dimensions), bias (classes,)."""

    weights: Matrix
    bias: Floats

    def logits(self, vectors: Matrix) -> Floats:
        scores: Floats = vectors @ self.weights.T + self.bias
        return scores


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """Logits (n, classes) of examples by heads that did not see them; `rows` says which examples these are."""

    strength: float
    rows: Labels
    logits: Floats


def fit_softmax(vectors: Matrix, labels: Labels, classes: int, strength: float) -> Coefficients:
    """Minimises mean cross-entropy + |weights|^2 / (2 strength n), the bias free. Deterministic: it starts at zero."""
    dimensions = vectors.shape[1]
    found = minimize(
        _objective(vectors, labels, classes, strength),
        np.zeros(classes * (dimensions + 1)),
        jac=True,
        method="L-BFGS-B",
        options={
            "maxiter": MAX_ITERATIONS,
            "maxfun": 2 * MAX_ITERATIONS,
            "gtol": GRADIENT_TOLERANCE,
            "ftol": 0.0,
            "maxcor": 20,
        },
    )
    table = found.x.reshape(classes, dimensions + 1)
    return Coefficients(table[:, :-1].astype(np.float32), table[:, -1])


def _objective(vectors: Matrix, labels: Labels, classes: int, strength: float) -> Callable[[Floats], tuple[float, Floats]]:
    count, dimensions = vectors.shape
    ridge = 1.0 / (strength * count)
    rows = np.arange(count)

    def loss_and_gradient(flat: Floats) -> tuple[float, Floats]:
        table = flat.reshape(classes, dimensions + 1)
        weights, bias = table[:, :-1], table[:, -1]
        logits = vectors @ weights.T.astype(np.float32) + bias
        log_norm = log_sum_exp(logits)
        loss = np.mean(log_norm - logits[rows, labels]) + 0.5 * ridge * np.sum(weights**2)
        residual = np.exp(logits - log_norm[:, None])
        residual[rows, labels] -= 1.0
        gradient = np.empty_like(table)
        gradient[:, :-1] = residual.T.astype(np.float32) @ vectors / count + ridge * weights
        gradient[:, -1] = residual.mean(axis=0)
        return float(loss), gradient.ravel()

    return loss_and_gradient


def cross_validate(
    by_fold: Sequence[Matrix],
    labels: Labels,
    classes: int,
    folds: NDArray[np.intp],
    strengths: Sequence[float],
    progress: Callable[[int, int], None],
) -> OutOfFold:
    """The strength with the lowest calibrated out-of-fold loss.

    `by_fold`: for each fold the vectors (n, d) by an encoder that did not see what it holds out. `folds`: fold of each example, -1 for
    never held out. Labels from `classes` on are background: learnt, and never scored. `progress` gets the fits done and all there are.
    """
    if not strengths:
        raise ValueError("cross-validation needs at least one strength")
    numbers = sorted(set(folds[folds >= 0].tolist()))
    first = numbers[:1] if int((folds >= 0).sum()) >= MANY and len(strengths) > 1 else numbers
    rest = numbers[len(first) :]
    total = len(strengths) * len(first) + len(rest)
    columns = max(classes, int(labels.max()) + 1)

    def held_out_logits(job: tuple[float, int]) -> Floats:
        strength, fold = job
        seen, vectors = folds != fold, by_fold[fold]
        return fit_softmax(vectors[seen], labels[seen], columns, strength).logits(vectors[~seen])[:, :classes]

    jobs = [(strength, fold) for strength in strengths for fold in first]
    scored = dict(zip(jobs, in_order(held_out_logits, jobs, lambda done, _: progress(done, total)), strict=True))
    chosen = choose([_joined(scored, strength, first, folds, classes) for strength in strengths], labels)
    more = [(chosen.strength, fold) for fold in rest]
    scored |= zip(more, in_order(held_out_logits, more, lambda done, _: progress(len(jobs) + done, total)), strict=True)
    return _joined(scored, chosen.strength, numbers, folds, classes)


def _joined(
    scored: Mapping[tuple[float, int], Floats], strength: float, numbers: Sequence[int], folds: NDArray[np.intp], classes: int
) -> OutOfFold:
    logits = np.empty((len(folds), classes))
    for fold in numbers:
        logits[folds == fold] = scored[strength, fold]
    rows = np.flatnonzero(np.isin(folds, numbers))
    return OutOfFold(strength, rows, logits[rows])


def choose(candidates: Sequence[OutOfFold], labels: Labels) -> OutOfFold:
    """The one with the lowest calibrated loss."""
    return min(candidates, key=lambda candidate: (_calibrated_loss(candidate.logits, labels[candidate.rows]), candidate.strength))


def _calibrated_loss(logits: Floats, labels: Labels) -> float:
    return negative_log_likelihood(logits / fit_temperature(logits, labels), labels)
