"""The encoder tier: a trained intent model behind the `Tier` port, on one thread of its own so that nobody waits for another's text.

The way to that thread and back costs up to an eighth of a short text's forward. Where nobody else could be kept waiting it is not taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from adapters.answers import answer
from embeddings.errors import EmbeddingsError, EncodingError, SearchError
from embeddings.injection import InjectionHead
from embeddings.model import IntentModel
from router.decision import Classification
from router.errors import ClassifierError


class EncoderTier:
    name = "encoder"

    def __init__(
        self,
        model: IntentModel,
        coverage: float,
        injection: InjectionHead | None = None,
        at_once: Callable[[str], bool] | None = None,
    ) -> None:
        """`coverage`: how often prediction sets are to have the right intent among them. `injection` reads the same vectors. `at_once`:
        whether a text may be answered on the event loop, which stands still meanwhile; none may where it is not given."""
        self._model = model
        self._at_once = at_once
        self._least = model.least_probability(coverage)
        self._injection = injection
        self._thread = ThreadPoolExecutor(1, "encoder")

    async def classify(self, text: str) -> Classification:
        try:
            if self._at_once is not None and self._at_once(text):
                answered = self._answer(text)
                await asyncio.sleep(0)  # whoever came meanwhile is seen before the next text, and a deadline that passed is noticed
                return answered
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, text)
        except (EncodingError, SearchError) as error:
            raise ClassifierError(str(error), error.code) from None
        except EmbeddingsError as error:
            raise ClassifierError(str(error), "classifier_failed") from None

    def _answer(self, text: str) -> Classification:
        found, vectors = self._model.predict_with_vectors(text)
        attack = max(map(self._injection.probability, vectors)) if self._injection is not None else None
        return answer(self.name, self._model, found, self._least, attack)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._model.close()
