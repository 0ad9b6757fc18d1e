"""From scores to probabilities: temperature scaling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from embeddings.numeric import Floats, Labels, log_sum_exp, softmax

LOG_TEMPERATURE_BOUNDS = (-5.0, 3.0)


def fit_temperature(logits: Floats, labels: Labels) -> float:
    """The temperature that makes held-out logits (n, k) most likely.

    Targets are smoothed as Platt does, by 1 / (n + 2): a few examples that all happen to be right must not become
    certainty.
    """
    smoothing = 1.0 / (len(labels) + 2)

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(logits / np.exp(log_temperature), labels, smoothing)

    found = minimize_scalar(loss, bounds=LOG_TEMPERATURE_BOUNDS, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def negative_log_likelihood(logits: Floats, labels: Labels, smoothing: float = 0.0) -> float:
    """Mean over the rows; `smoothing` is the share of the target spread evenly over the other classes."""
    classes = logits.shape[1]
    log_norm = log_sum_exp(logits)
    right = logits[np.arange(len(labels)), labels]
    others = (logits.sum(axis=1) - right) / max(1, classes - 1)
    return float(np.mean(log_norm - (1.0 - smoothing) * right - smoothing * others))


def top_confidences(logits: Floats, labels: Labels, temperature: float) -> tuple[Floats, NDArray[np.bool_]]:
    """The probability of each row's top class, and whether that class is right."""
    probabilities = softmax(logits / temperature)
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == labels


def probabilities_of(logits: Floats, labels: Labels, temperature: float) -> Floats:
    """The probability of each row's own label."""
    probabilities: Floats = softmax(logits / temperature)[np.arange(len(labels)), labels]
    return probabilities
