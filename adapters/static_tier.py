"""The static tier: tens of microseconds, on the event loop. It answers what it was found to answer as well as the encoder does."""

from __future__ import annotations

from adapters.answers import answer
from embeddings.errors import EmbeddingsError
from embeddings.prediction import Prediction
from embeddings.static_model import StaticModel
from router.decision import Candidate, Classification, Status
from router.errors import ClassifierError

UNSURE = "static_unsure"


def _likeliest(found: Prediction | None) -> tuple[Candidate, ...]:
    """No answer, but whoever asks why tiers differ has it."""
    return () if found is None else tuple(Candidate(each.intent, each.raw, each.calibrated) for each in found.candidates[:1])


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
        if found is None or not self._static.accepts(found):
            return Classification(Status.UNDETERMINED, tier=self.name, reason=UNSURE, candidates=_likeliest(found))
        return answer(self.name, self._static.model, found, self._least)

    def close(self) -> None:
        """Nothing is open."""
