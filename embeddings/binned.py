"""Confidences in equally wide bins: one way to count them, whoever asks. Needs nothing but NumPy, so that what serves can have it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embeddings.numeric import Floats

ECE_BINS = 15
RELIABILITY_BINS = 10


def bin_numbers(confidences: Floats, bins: int) -> NDArray[np.intp]:
    """1.0 is in the last one."""
    return np.minimum((confidences * bins).astype(np.intp), bins - 1)


def expected_calibration_error(
    confidences: Floats, correct: NDArray[np.bool_] | Floats, bins: int = ECE_BINS, weights: Floats | None = None
) -> float:
    """Mean gap between confidence and accuracy over the bins, weighted by their size, or by what is in them where `weights` are given."""
    if len(confidences) == 0:
        return 0.0
    weighed = np.ones(len(confidences)) if weights is None else weights
    gaps = np.bincount(bin_numbers(confidences, bins), weights=(confidences - correct) * weighed, minlength=bins)
    return float(np.abs(gaps).sum() / weighed.sum())


def error_by_chance(confidences: Floats, bins: int = ECE_BINS, weights: Floats | None = None) -> float:
    """About the error that confidences would show on so few answers if each meant exactly what it says."""
    if len(confidences) == 0:
        return 0.0
    weighed = np.ones(len(confidences)) if weights is None else weights
    spread = np.bincount(bin_numbers(confidences, bins), weights=confidences * (1.0 - confidences) * weighed**2, minlength=bins)
    return float(np.sqrt(2.0 / np.pi * spread).sum() / weighed.sum())
