"""Is a text about any intent at all? A small logistic gate beside the head, because confidence does not answer this."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from embeddings.numeric import Floats

FEATURES = ("energy", "max_logit", "gap", "log_top_probability", "nearest")
RIDGE = 1e-3


@dataclass(frozen=True, slots=True)
class ScopeGate:
    """P(in scope) of a feature row, where in-scope and out-of-scope are as likely as each other beforehand."""

    coefficients: tuple[float, ...]
    intercept: float

    def probability(self, features: tuple[float, ...]) -> float:
        score = self.intercept
        for coefficient, feature in zip(self.coefficients, features, strict=True):
            score += coefficient * feature
        return 1.0 / (1.0 + math.exp(-score)) if score > -700.0 else 0.0


def scope_features(
    top: float, second: float, log_norm: float, classes: int, log_top_probability: float, nearest: float
) -> tuple[float, ...]:
    """In the order of FEATURES. The energy is a log *mean* exp: comparable between heads of different sizes."""
    return (log_norm - math.log(classes), top, top - second, log_top_probability, nearest)


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
