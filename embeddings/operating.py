"""Where to accept: chosen from calibration data only, by a stated risk."""

from __future__ import annotations

from dataclasses import dataclass

from embeddings.artefact import Calibration
from embeddings.prediction import Prediction
from embeddings.proving import crossed, find


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """`scope`: least probability of being about any intent. `confidence`: least confidence beyond that, or None where the calibration data
    cannot prove the risk; `coverage` is the share of held-out texts about intents that is then accepted."""

    scope: float
    confidence: float | None
    coverage: float

    def accepts(self, found: Prediction) -> bool:
        return self.confidence is not None and found.scope >= self.scope and found.confidence >= self.confidence


def operating_point(calibration: Calibration, max_error: float) -> OperatingPoint:
    """See `proving.crossed` for what counts as wrong."""
    found = find(crossed(calibration, calibration.scope_point), max_error)
    return OperatingPoint(calibration.scope_point, found.confidence, found.coverage)
