"""How good a classifier is: trained on some texts, calibrated on others, measured on a third lot that nothing was chosen by."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.conformal import prediction_set
from embeddings.errors import EmbeddingsError
from embeddings.examples import TrainingSet, training_set
from embeddings.labelled import Labelled
from embeddings.model import IntentModel
from embeddings.numeric import Floats
from embeddings.operating import OperatingPoint, operating_point
from embeddings.ports import Encoder, Progress
from embeddings.prediction import Prediction
from embeddings.report import AtRisk
from embeddings.static_encoder import StaticEncoder
from embeddings.static_model import StaticModel, pair

WARM_UP = 50


@dataclass(frozen=True, slots=True)
class Splits:
    """`test` may have out-of-scope texts of its own; `calibrate` is None where cross-validation of `train` takes its place."""

    train: Labelled
    calibrate: Labelled | None
    test: Labelled


@dataclass(frozen=True, slots=True)
class Stated:
    """`max_error`: share of accepted answers that may be wrong; `coverage`: how often prediction sets are to have the right intent."""

    max_error: float
    coverage: float


@dataclass(frozen=True, slots=True)
class FineTune:
    """`base`: directory of the encoder to start from; the tuned one goes below `directory`."""

    base: Path
    directory: Path


@dataclass(frozen=True, slots=True)
class Answers:
    """What the classifier said of each test text: `right` is about the first candidate, whether or not it is accepted, `held` about
    the prediction set."""

    inside: NDArray[np.bool_]
    right: NDArray[np.bool_]
    confidences: Floats
    scopes: Floats
    tiers: tuple[str, ...]
    micros: Floats
    sets: tuple[tuple[str, ...], ...]
    held: NDArray[np.bool_]


def evaluate(
    splits: Splits,
    encoder: Encoder,
    stated: Stated,
    progress: Progress,
    static: StaticEncoder | None = None,
    tune: FineTune | None = None,
) -> dict[str, Any]:
    """The figures, all fractions in 0..1 and times in microseconds. Raises EmbeddingsError where nothing can be trained or measured."""
    if not len(splits.test):
        raise EmbeddingsError("no_test", "The test splits are empty, so there is nothing to measure.")
    data = training_set(splits.train.by_intent, splits.train.background)
    began = time.perf_counter()
    held_out = _held_out(data, splits.calibrate)
    model, tuned = _trained(data, encoder, held_out, progress, tune)
    first = pair(_trained(data, static, held_out, progress, None)[0], model) if static is not None else None
    trained_s = time.perf_counter() - began
    point = operating_point(model.artefact.calibration, stated.max_error)
    asked = Asked(first, model, stated.coverage)
    answers = _answers(asked, splits.test, progress)
    return {
        **_figures(answers, point),
        **_curves(answers, point, stated.max_error),
        "prediction_set": {"coverage_stated": stated.coverage, **_sets(answers, asked.proven)},
        "operating_point": {
            "max_error": stated.max_error,
            "scope": point.scope,
            "confidence": point.confidence,
            "coverage": point.coverage,
        },
        "static": None if first is None else asdict(first.acceptance),
        "train_seconds": round(trained_s, 2),
        "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "intents": len(data.intents),
        "train_rows": len(splits.train),
        "calibrate_rows": 0 if splits.calibrate is None else len(splits.calibrate),
        "test_rows": len(splits.test),
        "encoder_digest": model.encoder_digest,
        "model_digest": model.digest,
        "held_out": model.report,
        "fine_tune": tuned,
    }


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


@dataclass(frozen=True)
class Asked:
    """The cascade as it is asked: the static tier first, where there is one, and the encoder where that one is not sure enough."""

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


def _answers(asked: Asked, test: Labelled, progress: Progress) -> Answers:
    """One text after the other, as requests come; the first few once before, since a first use is no use."""
    for text in test.texts[:WARM_UP]:
        asked.encoder.predict(text)
        asked.predict(text)
    tiers: list[str] = []
    found: list[Prediction] = []
    micros = np.empty(len(test))
    for number, text in enumerate(test.texts):
        began = time.perf_counter_ns()
        tier, prediction = asked.predict(text)
        micros[number] = (time.perf_counter_ns() - began) / 1000.0
        tiers.append(tier)
        found.append(prediction)
        if number % 100 == 99 or number + 1 == len(test):
            progress("test", number + 1, len(test))
    sets = tuple(asked.plausible(tier, each) for tier, each in zip(tiers, found, strict=True))
    right = [each.candidates[0].intent == intent for each, intent in zip(found, test.intents, strict=True)]
    return Answers(
        inside=np.array([intent is not None for intent in test.intents]),
        right=np.array(right),
        confidences=np.array([each.confidence for each in found]),
        scopes=np.array([each.scope for each in found]),
        tiers=tuple(tiers),
        micros=micros,
        sets=sets,
        held=np.array([intent in plausible for plausible, intent in zip(sets, test.intents, strict=True)]),
    )


def _figures(answers: Answers, point: OperatingPoint) -> dict[str, Any]:
    calibration = import_module("embeddings.calibration")
    inside, right = answers.inside, answers.right
    outside = ~inside
    static = np.array([tier == "static" for tier in answers.tiers])
    passed = answers.scopes >= point.scope
    accepted = passed & (answers.confidences >= point.confidence) if point.confidence is not None else np.zeros(len(inside), dtype=bool)
    error = calibration.expected_calibration_error(answers.confidences[inside], right[inside])
    return {
        "accuracy": _share(right, inside),
        "accepted_accuracy": _share(right & inside, accepted),
        "coverage": float(accepted.mean()),
        "ece": error if inside.any() else None,
        **_scope(answers, point),
        "in_scope_accuracy": _share(right & passed, inside),
        "oos_accepted": _share(accepted, outside),
        "tier_share": _shares(answers.tiers),
        "static_share": {"in_scope": _share(static, inside), "oos": _share(static, outside)},
        "latency_us": _latency(answers.micros),
    }


def _curves(answers: Answers, point: OperatingPoint, max_error: float) -> dict[str, Any]:
    """What is drawn. Reliability is of texts about intents; for the other curve an accepted text about none is a wrong one, and `chosen` is
    what the operating point comes to on these texts, whose bound was proved on others."""
    curves = import_module("embeddings.curves")
    passed, right = answers.scopes >= point.scope, answers.right & answers.inside
    accepted = passed & (answers.confidences >= (2.0 if point.confidence is None else point.confidence))
    taken, wrong = int(accepted.sum()), int((accepted & ~right).sum())
    chosen = AtRisk(max_error, point.confidence, taken / len(passed), taken, wrong, None, None)
    return {
        "reliability": [asdict(each) for each in curves.reliability(answers.confidences[answers.inside], answers.right[answers.inside])],
        "risk_coverage": [asdict(each) for each in curves.risk_coverage(answers.confidences[passed], right[passed], len(passed))],
        "chosen": asdict(chosen),
    }


def _sets(answers: Answers, proven: bool) -> dict[str, float | None]:
    """Of texts about intents. None where the held-out texts are too few to state any coverage."""
    if not proven or not answers.inside.any():
        return dict.fromkeys(("coverage", "mean_size", "share_of_one", "share_of_two"))
    sizes = np.array([len(plausible) for plausible in answers.sets])[answers.inside]
    return {
        "coverage": _share(answers.held, answers.inside),
        "mean_size": float(sizes.mean()),
        "share_of_one": float((sizes == 1).mean()),
        "share_of_two": float((sizes == 2).mean()),
    }


def _scope(answers: Answers, point: OperatingPoint) -> dict[str, float | None]:
    """None for what cannot be said without texts of both kinds."""
    inside = answers.inside
    if inside.all() or not inside.any():
        return {"oos_auroc": None, "oos_fpr95": None, "oos_recall": _share(answers.scopes < point.scope, ~inside)}
    at_95 = np.quantile(answers.scopes[inside], 0.05)
    return {
        "oos_auroc": float(import_module("embeddings.scope_training").auroc(answers.scopes, inside)),
        "oos_fpr95": _share(answers.scopes >= at_95, ~inside),
        "oos_recall": _share(answers.scopes < point.scope, ~inside),
    }


def _share(what: NDArray[np.bool_], of: NDArray[np.bool_]) -> float | None:
    return float(what[of].mean()) if of.any() else None


def _shares(tiers: Sequence[str]) -> Mapping[str, float]:
    return {tier: tiers.count(tier) / len(tiers) for tier in sorted(set(tiers))}


def _latency(micros: Floats) -> dict[str, float]:
    return {
        "p50": round(float(np.quantile(micros, 0.5)), 1),
        "p99": round(float(np.quantile(micros, 0.99)), 1),
        "mean": round(float(micros.mean()), 1),
    }
