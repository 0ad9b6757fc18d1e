"""From what an intent model predicts to a classification; the tiers in front of such models share it."""

from __future__ import annotations

from embeddings.conformal import prediction_set
from embeddings.model import IntentModel
from embeddings.prediction import Prediction
from router.decision import Candidate, Classification, Status

UNPROVEN = "coverage_unproven"


def answer(tier: str, model: IntentModel, found: Prediction, least: float | None, injection: float | None = None) -> Classification:
    """`least`: the probability from which on an intent is in the prediction set. Without one nothing is known of the right answer's
    probability, so that none is given."""
    known = least is not None
    return Classification(
        Status.CLASSIFIED if known else Status.UNDETERMINED,
        found.candidates[0].intent if known else None,
        found.confidence,
        found.margin,
        found.scope,
        candidates=tuple(Candidate(each.intent, each.raw, each.calibrated) for each in found.candidates),
        prediction_set=prediction_set(found, least),
        tier=tier,
        reason="" if known else UNPROVEN,
        model_digest=model.digest,
        calibration_digest=model.calibration_digest,
        novelty=found.novelty,
        injection=injection,
        stages_ns=(("embed", int(found.embed_us * 1000)), ("head", int(found.head_us * 1000))),
    )
