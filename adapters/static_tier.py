"""The static tier: tens of microseconds, on the event loop. It answers what it was found to answer as well as the encoder does."""

from __future__ import annotations

from adapters.answers import answer
from embeddings.errors import EmbeddingsError
from embeddings.static_model import StaticModel
from router.decision import Classification, Status
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
            found = self._static.predict(text)
        except EmbeddingsError as error:
            raise ClassifierError(str(error), "classifier_failed") from None
        if found is None:
            return Classification(Status.UNDETERMINED, tier=self.name, reason=UNSURE)
        return answer(self.name, self._static.model, found, self._least)

    def close(self) -> None:
        """Nothing is open."""
