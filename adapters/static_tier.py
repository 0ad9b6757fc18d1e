"""The static tier: tens of microseconds, on the event loop. It answers what it was found to answer as well as the encoder does."""

from __future__ import annotations

from adapters.answers import answer
from embeddings.errors import EmbeddingsError
from embeddings.prediction import Prediction
from embeddings.static_model import StaticModel
from router.decision import Candidate, Classification, Status
from router.errors import ClassifierError

UNSURE = "static_unsure"


class StaticTier:
    name = "static"

    def __init__(self, static: StaticModel, coverage: float) -> None:
        """`coverage`: how often prediction sets are to have the right intent among them."""
        self._static = static
        self._least = static.model.least_probability(coverage)

    async def classify(self, text: str) -> Classification:
        try:
            found = self._static.look(text)
        except EmbeddingsError as error:
            raise ClassifierError(str(error), "classifier_failed") from None
        if found is None:
            return Classification(Status.UNDETERMINED, tier=self.name, reason=UNSURE)
        if not self._static.accepts(found):
            return self._left(found)
        return answer(self.name, self._static.model, found, self._least)

    def _left(self, found: Prediction) -> Classification:
        """No answer, but whoever asks why tiers differ has what it was unsure about, and how sure it would have had to be."""
        return Classification(
            Status.UNDETERMINED,
            None,
            found.confidence,
            found.margin,
            found.scope,
            self._static.acceptance.confidence,
            tuple(Candidate(each.intent, each.raw, each.calibrated) for each in found.candidates),
            tier=self.name,
            reason=UNSURE,
        )

    def close(self) -> None:
        """Nothing is open."""
