"""What the static tier may answer by itself: chosen from both tiers' held-out answers to the same texts, by how much is lost."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embeddings.artefact import Calibration
from embeddings.numeric import Floats, Labels

MAX_LOST = 0.002  # of all texts about intents: right by the encoder, wrong by the static tier that answered before it
MAX_LEAKED = 0.03  # of texts about no intent, with a certainty of four in five: few such texts are given
# Where none are given, of texts about intents that were held back: these lie far closer to the others than what is about none.
MAX_LEAKED_HELD_BACK = 0.06
MAX_MIXED = 0.2  # of texts that are two in one: the encoder takes two thirds of them for one, and the cascade looks at clauses for both
STEPS = 60
CERTAIN = 0.84  # standard deviations
# A sum of words does not know "or" from "and": where two intents share a text neither may look certain.
LEAST_CONFIDENCE = 0.9


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The static tier answers from this confidence and this scope on; `share` of held-out texts about intents are such, `lost` of them are
    right less than with the encoder alone, `leaked` of held-out texts about none are answered, and `mixed` of sums of two texts."""

    confidence: float
    scope: float
    share: float
    lost: float
    leaked: float
    mixed: float


def acceptance(static: Calibration, encoder: Calibration) -> Acceptance | None:
    """The point with the largest share within both bounds; None where there is none, or where the tiers did not see the same texts."""
    places, there, inside = _common(static, encoder)
    if not len(places):
        return None
    confidences, right, other = static.confidences[places], static.correct[places], encoder.correct[there]
    best: Acceptance | None = None
    for least in np.unique(np.quantile(confidences, np.linspace(0.0, 1.0, STEPS, endpoint=False)).clip(min=LEAST_CONFIDENCE)):
        scope = _scope(static, float(least))
        taken = (confidences >= least) & (inside >= scope)
        lost = float((taken & other & ~right).mean() - (taken & right & ~other).mean())
        share = float(taken.mean())
        mixed = _share((static.mixed_confidences >= least) & (static.mixed >= scope))
        if lost <= MAX_LOST and share > 0.0 and (best is None or share > best.share):
            leaked = _share((static.outside_confidences >= least) & (static.outside >= scope))
            best = Acceptance(float(least), scope, share, lost, leaked, mixed)
    return best


def _common(static: Calibration, encoder: Calibration) -> tuple[Labels, Labels, Floats]:
    """Texts that both were judged by: where they stand in the one, where in the other, and the static gate's probabilities."""
    place = {row: number for number, row in enumerate(encoder.rows.tolist())}
    rows = static.rows[static.places]
    kept = np.isin(rows, encoder.rows)
    there = np.array([place[row] for row in rows[kept].tolist()], dtype=np.intp)
    return static.places[kept], there, static.in_scope[kept]


def _scope(static: Calibration, least: float) -> float:
    """The lowest scope at which, with at least this confidence, no more is answered than may be of what is about none and of two in one."""
    leaked = MAX_LEAKED if static.given else MAX_LEAKED_HELD_BACK
    return max(
        _least(static.outside, static.outside_confidences >= least, leaked),
        _least(static.mixed, static.mixed_confidences >= least, MAX_MIXED),
    )


def _least(scopes: Floats, confident: NDArray[np.bool_], most: float) -> float:
    descending = np.sort(scopes[confident])[::-1]
    allowed = _allowed(most, len(scopes))
    return float(np.nextafter(descending[allowed], 2.0)) if len(descending) > allowed else 0.0


def _allowed(most: float, count: int) -> int:
    """How many of `count` may be answered so that, four times in five, it is a share of at most `most` of all that will come."""
    expected = most * count
    return max(0, int(expected - CERTAIN * math.sqrt(expected)))


def _share(answered: NDArray[np.bool_]) -> float:
    return float(answered.mean()) if len(answered) else 0.0
