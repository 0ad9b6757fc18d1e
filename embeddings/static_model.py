"""The static tier's model, together with what it may answer by itself."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from embeddings.acceptance import Acceptance, acceptance
from embeddings.errors import EmbeddingsError
from embeddings.kept import beside, kept_model
from embeddings.model import IntentModel
from embeddings.passages import passages
from embeddings.prediction import Prediction
from embeddings.static_encoder import StaticEncoder

# English, as the encoders are that have a token table.
ALTERNATIVES = re.compile(r"\b(?:or|nor|either|instead|rather)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class StaticModel:
    model: IntentModel
    acceptance: Acceptance

    def predict(self, text: str) -> Prediction | None:
        """None for what is the encoder's to answer: what the tier is not sure of, and what it does not look at."""
        found = self.look(text)
        return found if found is not None and self.accepts(found) else None

    def look(self, text: str) -> Prediction | None:
        """However sure. None for long texts, whose words add up to nothing, and alternatives: a sum of words does not know "or" from
        "and"."""
        return None if ALTERNATIVES.search(text) is not None or passages(text) else self.model.predict(text)

    def accepts(self, found: Prediction) -> bool:
        """Confidence alone would let through a quarter of what is about no intent."""
        return found.confidence >= self.acceptance.confidence and found.scope >= self.acceptance.scope


def pair(static: IntentModel, encoder: IntentModel) -> StaticModel | None:
    """Both trained from the same examples; None where the static one would have to leave everything to the encoder."""
    if static.examples_digest != encoder.examples_digest:
        raise EmbeddingsError("model_altered", "The static tier's model was trained from other examples than the encoder's.")
    found = acceptance(static.artefact.calibration, encoder.artefact.calibration)
    return None if found is None else StaticModel(static, found)


def save_beside(encoder_model: Path, static: IntentModel) -> Path:
    """Takes the place of one that an earlier version trained. Raises EmbeddingsError."""
    kept = static.save(beside(encoder_model))
    for path in beside(encoder_model).glob("[0-9a-f]*"):
        if path != kept:
            shutil.rmtree(path, ignore_errors=True)
    return kept


def load_beside(encoder_model: Path, encoder: IntentModel, static_encoder: StaticEncoder) -> StaticModel | None:
    """None where none was made. Raises EmbeddingsError for one that was altered."""
    found = kept_model(beside(encoder_model))
    return None if found is None else pair(IntentModel.load(found, static_encoder), encoder)
