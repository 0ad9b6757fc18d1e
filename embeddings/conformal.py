"""Prediction sets by split conformal prediction: those intents that together have the right one among them as often as stated."""

from __future__ import annotations

import math

import numpy as np

from embeddings.numeric import Floats
from embeddings.prediction import Prediction


def least_probability(right: Floats, coverage: float) -> float | None:
    """The calibrated probability from which on an intent belongs to the set, so that a share of at least `coverage` of sets has the right
    intent among them; `right` (n,) are the probabilities that held-out texts' right intents had.

    The score is one minus the right intent's probability, its quantile that of n + 1 texts: the one that comes is one more of them (Sadinle
    et al. 2019, Vovk et al. 2005). None where n texts cannot show it: 95 % needs 19, 90 % needs 9.
    """
    rank = max(1, math.ceil((len(right) + 1) * coverage - 1e-9))
    if rank > len(right):
        return None
    return float(np.sort(right)[::-1][rank - 1])


def prediction_set(found: Prediction, least: float | None) -> tuple[str, ...]:
    """In the order of probability, the first candidate always among them. As long as all candidates are in it there may be others that
    nobody looked at; without a `least` anything may be right."""
    return tuple(each.intent for number, each in enumerate(found.candidates) if number == 0 or least is None or each.calibrated >= least)
