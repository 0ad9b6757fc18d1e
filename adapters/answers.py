"""From what an intent model predicts to a classification; the tiers in front of such models share it."""

from __future__ import annotations

from embeddings.model import IntentModel
from embeddings.prediction import Prediction
from router.decision import Candidate, Classification, Status


def answer(tier: str, model: IntentModel, found: Prediction, injection: float | None = None) -> Classification:
    return Classification(
        Status.CLASSIFIED,
        found.candidates[0].intent,
        found.confidence,
        found.margin,
        found.scope,
        candidates=tuple(Candidate(each.intent, each.raw, each.calibrated) for each in found.candidates),
        tier=tier,
        model_digest=model.digest,
        calibration_digest=model.calibration_digest,
        novelty=found.novelty,
        injection=injection,
        stages_ns=(("embed", int(found.embed_us * 1000)), ("head", int(found.head_us * 1000))),
    )
