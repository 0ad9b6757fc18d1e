"""How good a classifier is: trained on some texts, calibrated on others, measured on a third lot that nothing was chosen by."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.binned import expected_calibration_error
from embeddings.cascade import Cascade, Recipe, make_cascade
from embeddings.errors import EmbeddingsError
from embeddings.labelled import Labelled
from embeddings.numeric import Floats
from embeddings.operating import OperatingPoint, operating_point
from embeddings.ports import Progress
from embeddings.prediction import Prediction
from embeddings.report import AtRisk

WARM_UP = 50


@dataclass(frozen=True, slots=True)
class Splits:
    """`test` may have out-of-scope texts of its own; `calibrate` is None where cross-validation of `train` takes its place."""

    train: Labelled
    calibrate: Labelled | None
    test: Labelled


@dataclass(frozen=True, slots=True)
class Answers:
    """What the classifier said of each test text: `right` is about the first candidate, whether or not it is accepted, `held` about
    the prediction set. `passed`: by the scope gate, `accepted`: by confidence as well, both at the operating point."""

    inside: NDArray[np.bool_]
    right: NDArray[np.bool_]
    confidences: Floats
    scopes: Floats
    passed: NDArray[np.bool_]
    accepted: NDArray[np.bool_]
    tiers: tuple[str, ...]
    micros: Floats
    sets: tuple[tuple[str, ...], ...]
    held: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LeftOpen:
    """A text that the cascade abstains from at the operating point, in its place among the texts, with its intent and the encoder's
    prediction."""

    place: int
    text: str
    intent: str | None
    found: Prediction


@dataclass(frozen=True, slots=True)
class Opinion:
    """What another tier says of a text that was left open: `intent` None says that it is about none, and then nothing is accepted."""

    intent: str | None
    confidence: float
    accepted: bool


@dataclass(frozen=True, slots=True)
class Trial:
    """A cascade, and what it said of the test texts. `facts`: what is to be told of how it was made."""

    recipe: Recipe
    splits: Splits
    max_error: float
    cascade: Cascade
    point: OperatingPoint
    found: tuple[tuple[str, Prediction], ...]
    answers: Answers
    facts: Mapping[str, Any]

    def figures(self) -> dict[str, Any]:
        """All fractions in 0..1 and times in microseconds."""
        return self._figures(self.answers, ())

    def figures_with(self, opinions: Mapping[int, Opinion], tier: str) -> dict[str, Any]:
        """What becomes of them where a `tier` behind the others answers the texts in these places. The times stay those of the tiers before
        it, and so do prediction sets and what is said of the scope's score."""
        return self._figures(_with_opinions(self.answers, self.splits.test, opinions, tier), (tier,))

    def _figures(self, answers: Answers, more: Sequence[str]) -> dict[str, Any]:
        return {
            **_figures(answers),
            "tier_share": _shares(answers.tiers, more),
            **_curves(answers, self.point, self.max_error),
            "prediction_set": {"coverage_stated": self.recipe.coverage, **_sets(answers, self.cascade.proven)},
            **self.facts,
        }

    def left_open(self) -> Iterator[LeftOpen]:
        """Of the test texts."""
        said = zip(self.splits.test.texts, self.splits.test.intents, self.found, strict=True)
        for place, (text, intent, (tier, found)) in enumerate(said):
            yield from left_open(self.cascade, self.point, LeftOpen(place, text, intent, found), tier)


def left_open(cascade: Cascade, point: OperatingPoint, said: LeftOpen, tier: str) -> Iterator[LeftOpen]:
    """Nothing where the tier's prediction is accepted, or the encoder's, which is asked next."""
    if point.accepts(said.found):
        return
    found = said.found if tier == "encoder" else cascade.encoder.predict(said.text)
    if not point.accepts(found):
        yield replace(said, found=found)


def try_out(splits: Splits, recipe: Recipe, max_error: float, progress: Progress) -> Trial:
    """`max_error`: share of accepted answers that may be wrong. Raises EmbeddingsError where nothing can be trained or measured."""
    if not len(splits.test):
        raise EmbeddingsError("no_test", "The test splits are empty, so there is nothing to measure.")
    began = time.perf_counter()
    cascade, tuned = make_cascade(recipe, splits.train, splits.calibrate, progress)
    trained_s = time.perf_counter() - began
    model = cascade.encoder
    point = operating_point(model.artefact.calibration, max_error)
    found, micros = _asked(cascade, splits.test, progress)
    facts = {
        "operating_point": {"max_error": max_error, "scope": point.scope, "confidence": point.confidence, "coverage": point.coverage},
        "static": None if cascade.static is None else asdict(cascade.static.acceptance),
        "train_seconds": round(trained_s, 2),
        "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "intents": len(model.intents),
        "train_rows": len(splits.train),
        "calibrate_rows": 0 if splits.calibrate is None else len(splits.calibrate),
        "test_rows": len(splits.test),
        "encoder_digest": model.encoder_digest,
        "model_digest": model.digest,
        "held_out": model.report,
        "fine_tune": tuned,
    }
    answers = _answers(cascade, point, splits.test, found, micros)
    return Trial(recipe, splits, max_error, cascade, point, found, answers, facts)


def _asked(cascade: Cascade, test: Labelled, progress: Progress) -> tuple[tuple[tuple[str, Prediction], ...], Floats]:
    """One text after the other, as requests come; the first few once before, since a first use is no use. And the microseconds of each."""
    for text in test.texts[:WARM_UP]:
        cascade.encoder.predict(text)
        cascade.predict(text)
    found: list[tuple[str, Prediction]] = []
    micros = np.empty(len(test))
    for number, text in enumerate(test.texts):
        began = time.perf_counter_ns()
        said = cascade.predict(text)
        micros[number] = (time.perf_counter_ns() - began) / 1000.0
        found.append(said)
        if number % 100 == 99 or number + 1 == len(test):
            progress("test", number + 1, len(test))
    return tuple(found), micros


def _answers(cascade: Cascade, point: OperatingPoint, test: Labelled, found: Sequence[tuple[str, Prediction]], micros: Floats) -> Answers:
    sets = tuple(cascade.plausible(tier, each) for tier, each in found)
    scopes = np.array([each.scope for _, each in found])
    return Answers(
        inside=np.array([intent is not None for intent in test.intents]),
        right=np.array([each.candidates[0].intent == intent for (_, each), intent in zip(found, test.intents, strict=True)]),
        confidences=np.array([each.confidence for _, each in found]),
        scopes=scopes,
        passed=scopes >= point.scope,
        accepted=np.array([point.accepts(each) for _, each in found]),
        tiers=tuple(tier for tier, _ in found),
        micros=micros,
        sets=sets,
        held=np.array([intent in plausible for plausible, intent in zip(sets, test.intents, strict=True)]),
    )


def _with_opinions(answers: Answers, test: Labelled, opinions: Mapping[int, Opinion], tier: str) -> Answers:
    """A text that an opinion takes for one about no intent is turned away, and has no first candidate that could be right."""
    right, confidences = answers.right.copy(), answers.confidences.copy()
    passed, accepted, tiers = answers.passed.copy(), answers.accepted.copy(), list(answers.tiers)
    for place, opinion in opinions.items():
        right[place] = opinion.intent is not None and opinion.intent == test.intents[place]
        confidences[place] = opinion.confidence
        passed[place] = opinion.accepted or (passed[place] and opinion.intent is not None)
        accepted[place] = opinion.accepted
        tiers[place] = tier
    return replace(answers, right=right, confidences=confidences, passed=passed, accepted=accepted, tiers=tuple(tiers))


def _figures(answers: Answers) -> dict[str, Any]:
    inside, right = answers.inside, answers.right
    outside = ~inside
    static = np.array([tier == "static" for tier in answers.tiers])
    accepted = answers.accepted
    error = expected_calibration_error(answers.confidences[inside], right[inside])
    return {
        "accuracy": _share(right, inside),
        "accepted_accuracy": _share(right & inside, accepted),
        "coverage": float(accepted.mean()),
        "ece": error if inside.any() else None,
        **_scope(answers),
        "in_scope_accuracy": _share(right & answers.passed, inside),
        "oos_accepted": _share(accepted, outside),
        "static_share": {"in_scope": _share(static, inside), "oos": _share(static, outside)},
        "latency_us": _latency(answers.micros),
    }


def _curves(answers: Answers, point: OperatingPoint, max_error: float) -> dict[str, Any]:
    """What is drawn. Reliability is of texts about intents; for the other curve an accepted text about none is a wrong one, and `chosen` is
    what the operating point comes to on these texts, whose bound was proved on others."""
    curves = import_module("embeddings.curves")
    passed, accepted, right = answers.passed, answers.accepted, answers.right & answers.inside
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


def _scope(answers: Answers) -> dict[str, float | None]:
    """None for what cannot be said without texts of both kinds."""
    inside = answers.inside
    if inside.all() or not inside.any():
        return {"oos_auroc": None, "oos_fpr95": None, "oos_recall": _share(~answers.passed, ~inside)}
    at_95 = np.quantile(answers.scopes[inside], 0.05)
    return {
        "oos_auroc": float(import_module("embeddings.scope_training").auroc(answers.scopes, inside)),
        "oos_fpr95": _share(answers.scopes >= at_95, ~inside),
        "oos_recall": _share(~answers.passed, ~inside),
    }


def _share(what: NDArray[np.bool_], of: NDArray[np.bool_]) -> float | None:
    return float(what[of].mean()) if of.any() else None


def _shares(tiers: Sequence[str], more: Sequence[str]) -> Mapping[str, float]:
    """Of those that answered anything, and of `more`."""
    return {tier: tiers.count(tier) / len(tiers) for tier in sorted({*tiers, *more})}


def _latency(micros: Floats) -> dict[str, float]:
    return {
        "p50": round(float(np.quantile(micros, 0.5)), 1),
        "p99": round(float(np.quantile(micros, 0.99)), 1),
        "mean": round(float(micros.mean()), 1),
    }
