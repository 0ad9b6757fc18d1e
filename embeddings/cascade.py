"""The cascade as it is tried out: trained on some texts, calibrated on others, and asked as a request would ask it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from embeddings.conformal import prediction_set
from embeddings.errors import EmbeddingsError
from embeddings.examples import TrainingSet, training_set
from embeddings.labelled import Labelled
from embeddings.model import IntentModel
from embeddings.ports import Encoder, Progress
from embeddings.prediction import Prediction
from embeddings.static_encoder import StaticEncoder
from embeddings.static_model import StaticModel, pair


@dataclass(frozen=True, slots=True)
class FineTune:
    """`base`: directory of the encoder to start from; the tuned one goes below `directory`."""

    base: Path
    directory: Path


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a cascade is made of beside texts. `coverage`: how often prediction sets are to have the right intent."""

    encoder: Encoder
    static: StaticEncoder | None
    tune: FineTune | None
    coverage: float


@dataclass(frozen=True)
class Cascade:
    """The static tier first, where there is one, and the encoder where that one is not sure enough."""

    static: StaticModel | None
    encoder: IntentModel
    coverage: float

    @property
    def proven(self) -> bool:
        """Whether the held-out texts are enough for this coverage; both tiers have as many."""
        return self._least["encoder"] is not None

    @cached_property
    def _least(self) -> dict[str, float | None]:
        models = {"encoder": self.encoder} | ({} if self.static is None else {"static": self.static.model})
        return {tier: model.least_probability(self.coverage) for tier, model in models.items()}

    def plausible(self, tier: str, found: Prediction) -> tuple[str, ...]:
        return prediction_set(found, self._least[tier])

    def predict(self, text: str) -> tuple[str, Prediction]:
        if self.static is not None:
            found = self.static.predict(text)
            if found is not None:
                return "static", found
        return "encoder", self.encoder.predict(text)


def make_cascade(recipe: Recipe, train: Labelled, calibrate: Labelled | None, progress: Progress) -> tuple[Cascade, dict[str, Any]]:
    """And what is to be said about fine-tuning. Without texts to calibrate on those to train on are cross-validated. Raises
    EmbeddingsError."""
    data = training_set(train.by_intent, train.background)
    held_out = _held_out(data, calibrate)
    model, tuned = _trained(data, recipe.encoder, held_out, progress, recipe.tune)
    static = pair(_trained(data, recipe.static, held_out, progress, None)[0], model) if recipe.static is not None else None
    return Cascade(static, model, recipe.coverage), tuned


def _held_out(data: TrainingSet, calibrate: Labelled | None) -> Any:
    """A HeldOut, or None where cross-validation takes its place."""
    if calibrate is None:
        return None
    place = {intent: number for number, intent in enumerate(data.intents)}
    known = [(text, place[intent]) for text, intent in zip(calibrate.texts, calibrate.intents, strict=True) if intent in place]
    if not known:
        raise EmbeddingsError("no_calibration", "The calibration splits have no text about any of the intents that are trained.")
    texts, labels = zip(*known, strict=True)
    return import_module("embeddings.fitting").HeldOut(texts, np.array(labels, dtype=np.intp), tuple(calibrate.background))


def _trained(
    data: TrainingSet, encoder: Encoder, held_out: Any, progress: Progress, tune: FineTune | None
) -> tuple[IntentModel, dict[str, Any]]:
    """The model, and what is to be said about fine-tuning."""
    if tune is None:
        fitting = import_module("embeddings.fitting")  # brings scipy
        fitted = fitting.fit(data, fitting.embedding_of(encoder), progress, held_out)
        return IntentModel(encoder, fitted.artefact), {"done": False}
    found = import_module("embeddings.fine_tuning.training").fit_best(data, encoder, tune.base, tune.directory, progress, held_out)
    told = {"frozen_accuracy": found.frozen_accuracy, "tuned_accuracy": found.tuned_accuracy, "held_out": found.held_out}
    return IntentModel(found.fitted.encoder, found.fitted.artefact), {"done": found.directory is not None, **told}
