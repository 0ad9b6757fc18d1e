"""Does a text give orders to the machine instead of asking for something? A head over the encoder's vectors, trained from shipped texts.

It belongs to an encoder and not to a catalog, so that it is trained once for each encoder; `injection_texts/` is all that it learns from.
"""

from __future__ import annotations

from pathlib import Path

from embeddings.model import IntentModel
from embeddings.ports import Encoder, Progress, Vector
from embeddings.shipped import ATTACK, shipped_texts
from embeddings.train import load_or_train, silent


class InjectionHead:
    def __init__(self, model: IntentModel) -> None:
        self._model = model

    def probability(self, vector: Vector) -> float:
        """Of an attack, calibrated on held-out shipped texts of which half are attacks; traffic has far fewer."""
        found = self._model.predict_vector(vector)
        return next(each.calibrated for each in found.candidates if each.intent == ATTACK)


def injection_head(folder: Path, encoder: Encoder, progress: Progress = silent) -> InjectionHead:
    """From `folder`, trained and saved there at first. Raises EmbeddingsError."""
    return InjectionHead(load_or_train(folder, shipped_texts(), (), encoder, progress))
