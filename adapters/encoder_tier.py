"""The encoder tier: a trained intent model behind the `Tier` port, on one thread of its own so that the event loop never waits for it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from embeddings.errors import EmbeddingsError
from embeddings.model import IntentModel
from embeddings.prediction import Prediction
from router.decision import Candidate, Classification, Status
from router.errors import ClassifierError


class EncoderTier:
    name = "encoder"

    def __init__(self, model: IntentModel) -> None:
        self._model = model
        self._thread = ThreadPoolExecutor(1, "encoder")

    async def classify(self, text: str) -> Classification:
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._thread, self._model.predict, text)
        except EmbeddingsError as error:
            raise ClassifierError(str(error), "classifier_failed") from None
        return self._classification(found)

    def _classification(self, found: Prediction) -> Classification:
        best = found.candidates[0]
        return Classification(
            Status.CLASSIFIED,
            best.intent,
            found.confidence,
            found.margin,
            found.scope,
            candidates=tuple(Candidate(each.intent, each.raw, each.calibrated) for each in found.candidates),
            tier=self.name,
            model_digest=self._model.digest,
            calibration_digest=self._model.calibration_digest,
            stages_ns=(("embed", int(found.embed_us * 1000)), ("head", int(found.head_us * 1000))),
        )

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
