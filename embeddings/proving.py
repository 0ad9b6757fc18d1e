"""What a stated risk takes: the threshold, and the counts that it rests on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embeddings.artefact import Calibration
from embeddings.costs import SHARE, Costs, cheapest, expected_cost
from embeddings.numeric import Floats
from embeddings.thresholds import error_bound, more_needed, threshold_for


@dataclass(frozen=True, slots=True)
class Accepted:
    """Held-out texts that would be accepted but for their confidence, each (n,): how confident, whether right, whether it is about one of
    the intents that this is about. `total`: how many held-out texts are about these, accepted or not."""

    confidences: Floats
    correct: NDArray[np.bool_]
    about: NDArray[np.bool_]
    total: int


@dataclass(frozen=True, slots=True)
class Finding:
    """`confidence`: the threshold, None where the risk cannot be proved; then nothing is accepted and `more_needed` examples are missing at
    least. `coverage`: share of the texts about these intents that is accepted; `error_at_most`: Clopper and Pearson's bound at 95 %. `cost`
    and `cost_at_most`: see `costs.expected_cost`; None where no costs were given or nothing is accepted."""

    confidence: float | None
    coverage: float
    held_out: int
    accepted: int
    wrong: int
    error_at_most: float | None
    more_needed: int
    cost: float | None = None
    cost_at_most: float | None = None


def find(texts: Accepted, max_error: float) -> Finding:
    least = threshold_for(texts.confidences, texts.correct, max_error)
    if least is None:
        return Finding(None, 0.0, len(texts.correct), 0, 0, None, more_needed(texts.confidences, texts.correct, max_error))
    taken = texts.confidences >= least
    accepted, wrong = int(taken.sum()), int((taken & ~texts.correct).sum())
    return Finding(least, _covered(texts, least), len(texts.correct), accepted, wrong, error_bound(wrong, accepted), 0)


def find_by(texts: Accepted, costs: Costs) -> Finding:
    """The threshold that costs least, where accepting is proved to cost less than abstaining."""
    held_out = len(texts.correct)
    found = cheapest(texts.confidences, texts.correct, costs)
    if found is None:
        more = more_needed(texts.confidences, texts.correct, costs.break_even, SHARE)
        return Finding(None, 0.0, held_out, 0, 0, None, more)
    mean, bound, error = expected_cost(found, held_out, costs)
    return Finding(found.confidence, _covered(texts, found.confidence), held_out, found.accepted, found.wrong, error, 0, mean, bound)


def _covered(texts: Accepted, least: float) -> float:
    return float(((texts.confidences >= least) & texts.about).sum() / texts.total) if texts.total else 0.0


def crossed(calibration: Calibration, scope: float) -> Accepted:
    """All held-out texts of a training that pass the gate at `scope`. Given texts about no intent that pass it count as accepted and wrong,
    with the confidence that they had. Where none were given the risk is that of confusing intents alone: how much else will come, nobody
    knows."""
    confidences, correct = calibration.confidences, calibration.correct
    inside = np.ones(len(confidences), dtype=bool)
    if len(calibration.places):
        confidences, correct = confidences[calibration.places], correct[calibration.places]
        inside = calibration.in_scope >= scope
    leaked = calibration.outside_confidences[(calibration.outside >= scope) & calibration.given]
    about = np.arange(int(inside.sum()) + len(leaked)) < int(inside.sum())
    return Accepted(
        np.concatenate([confidences[inside], leaked]),
        np.concatenate([correct[inside], np.zeros(len(leaked), dtype=bool)]),
        about,
        len(inside),
    )
