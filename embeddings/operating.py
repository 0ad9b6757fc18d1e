"""Where to accept: chosen from calibration data only, by a stated risk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embeddings.artefact import Calibration
from embeddings.thresholds import threshold_for


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """`scope`: least probability of being about any intent. `confidence`: least confidence beyond that, or None where the calibration data
    cannot prove the risk; `coverage` is the share of held-out texts about intents that is then accepted."""

    scope: float
    confidence: float | None
    coverage: float


def operating_point(calibration: Calibration, max_error: float) -> OperatingPoint:
    """Given texts about no intent that pass the gate count as accepted and wrong, with the confidence that they had. Where none were given
    the risk is that of confusing intents alone: how much else will come, nobody knows."""
    scope = calibration.scope_point
    confidences, correct = calibration.confidences, calibration.correct
    inside = np.ones(len(confidences), dtype=bool)
    if len(calibration.places):
        confidences, correct = confidences[calibration.places], correct[calibration.places]
        inside = calibration.in_scope >= scope
    leaked = calibration.outside_confidences[(calibration.outside >= scope) & calibration.given]
    least = threshold_for(
        np.concatenate([confidences[inside], leaked]),
        np.concatenate([correct[inside], np.zeros(len(leaked), dtype=bool)]),
        max_error,
    )
    covered = float((inside & (confidences >= least)).mean()) if least is not None else 0.0
    return OperatingPoint(scope, least, covered)
