"""What training does, step by step; everything here needs scipy, which serving does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from embeddings.artefact import Artefact, Calibration
from embeddings.calibration import expected_calibration_error, fit_temperature, probabilities_of, top_confidences
from embeddings.examples import TrainingSet
from embeddings.folds import FOLDS, stratified_folds
from embeddings.head import LinearHead
from embeddings.index import ExampleIndex, build_index
from embeddings.numeric import Floats, Labels
from embeddings.parallel import in_order, one_blas_thread
from embeddings.ports import Encoder, Matrix, Progress
from embeddings.scope_training import (
    ENOUGH_BACKGROUND,
    Observed,
    ScopeTraining,
    TrainedGate,
    features,
    gate_of,
    mixtures,
    train_gate,
    with_background,
)
from embeddings.spelling import Spelling, words_of
from embeddings.training import STRENGTHS, cross_validate, fit_softmax

ENCODE_CHUNK = 64


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Texts that are set apart for calibration: nothing is learnt from them but what the scores mean."""

    texts: tuple[str, ...]
    labels: Labels
    out_of_scope: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Material:
    """Everything encoded: examples, then the intents' names (fold -1), in `vectors`, `labels` and `folds`; and the background."""

    vectors: Matrix
    labels: Labels
    folds: Labels
    examples: int
    background: Matrix


@dataclass(frozen=True, slots=True)
class Scored:
    """Logits (n, intents) of examples by a head that did not see them; `rows` (n,) says which examples these are."""

    logits: Floats
    labels: Labels
    rows: Labels

    @property
    def temperature(self) -> float:
        return fit_temperature(self.logits, self.labels)


def fit(data: TrainingSet, encoder: Encoder, progress: Progress, held_out: HeldOut | None = None) -> Artefact:
    """Calibrated on `held_out`, or by cross-validation where there is none."""
    with one_blas_thread():
        return _fit(data, encoder, progress, held_out)


def _fit(data: TrainingSet, encoder: Encoder, progress: Progress, held_out: HeldOut | None) -> Artefact:
    classes = len(data.intents)
    material = _material(data, encoder, progress)
    vectors, labels = with_background(material.vectors, material.labels, material.background, classes)
    folds = np.append(material.folds, np.full(len(labels) - len(material.folds), -1))
    crossed = cross_validate(vectors, labels, classes, folds, STRENGTHS, partial(progress, "cross-validate"))
    (final,) = in_order(
        lambda strength: fit_softmax(vectors, labels, int(labels.max()) + 1, strength), [crossed.strength], partial(progress, "head")
    )
    head = LinearHead(np.ascontiguousarray(final.weights), final.bias.astype(np.float32), data.intents)
    index = build_index(material.vectors[: material.examples], data.labels, classes)
    if held_out is None:
        scored = Scored(crossed.logits, labels[crossed.rows], crossed.rows)
        gate = _gate_by_folds(data, material, crossed.strength, scored.temperature, encoder.additive, progress)
    else:
        spelling = Spelling(words_of(data.texts), encoder.words)
        apart = _encode(encoder, [spelling.corrected(text) for text in held_out.texts], partial(progress, "encode calibration"))
        scored = Scored((apart @ head.weights.T + head.bias)[:, :classes].astype(np.float64), held_out.labels, np.arange(len(apart)))
        outside = _encode(encoder, [spelling.corrected(text) for text in held_out.out_of_scope], partial(progress, "encode calibration"))
        if len(outside) >= ENOUGH_BACKGROUND:
            gate = _gate_from(head, index, scored.temperature, apart, held_out.labels, outside, encoder.additive)
        else:  # the gate's folds are of the examples, and nothing ties them to these texts
            gate = replace(
                _gate_by_folds(data, material, crossed.strength, scored.temperature, encoder.additive, progress),
                rows=np.empty(0, dtype=np.intp),
            )
    return _artefact(data, encoder, head, index, scored, gate, crossed.strength)


def _artefact(
    data: TrainingSet, encoder: Encoder, head: LinearHead, index: ExampleIndex, scored: Scored, gate: TrainedGate, strength: float
) -> Artefact:
    temperature = scored.temperature
    confidences, correct = top_confidences(scored.logits, scored.labels, temperature)
    return Artefact(
        head=head,
        index=index,
        calibration=_calibration(scored, gate, temperature, confidences, correct),
        encoder_digest=encoder.digest,
        examples_digest=data.digest,
        words=words_of(data.texts),
        report=_report(data, confidences, correct, strength, gate),
    )


def _calibration(scored: Scored, gate: TrainedGate, temperature: float, confidences: Floats, correct: NDArray[np.bool_]) -> Calibration:
    """Tied together are the two judgements on one text where both were made."""
    place = {int(row): number for number, row in enumerate(scored.rows)}
    tied = [(number, place[int(row)]) for number, row in enumerate(gate.rows) if int(row) in place]
    kept = np.array([number for number, _ in tied], dtype=np.intp)
    places = np.array([where for _, where in tied], dtype=np.intp)
    return Calibration(
        temperature=temperature,
        gate=gate.gate,
        confidences=confidences,
        correct=correct,
        right=probabilities_of(scored.logits, scored.labels, temperature),
        in_scope=gate.in_scope[kept] if tied else gate.in_scope,
        places=places,
        outside=gate.outside,
        outside_confidences=gate.outside_confidences,
        mixed=gate.mixed,
        mixed_confidences=gate.mixed_confidences,
        scope_point=gate.point,
        given=gate.given,
    )


def _report(data: TrainingSet, confidences: Floats, correct: NDArray[np.bool_], strength: float, gate: TrainedGate) -> dict[str, float]:
    return {
        "examples": float(len(data.texts)),
        "held_out_accuracy": float(correct.mean()),
        "held_out_calibration_error": expected_calibration_error(confidences, correct),
        "strength": strength,
        "scope_auroc": gate.auroc,
    }


def _material(data: TrainingSet, encoder: Encoder, progress: Progress) -> Material:
    """A name that stands among its intent's examples already is not taken twice: it would be seen by the head that it is held out of."""
    known = {(text.lower(), label) for text, label in zip(data.texts, data.labels.tolist(), strict=True)}
    named = [(name, label) for label, name in enumerate(data.names) if (name, label) not in known]
    vectors = _encode(encoder, (*data.texts, *(name for name, _ in named)), partial(progress, "encode"))
    return Material(
        vectors=vectors,
        labels=np.append(data.labels, np.array([label for _, label in named], dtype=np.intp)),
        folds=np.append(stratified_folds(data.texts, data.labels), np.full(len(named), -1)),
        examples=len(data.texts),
        background=_encode(encoder, data.out_of_scope, partial(progress, "encode out-of-scope")),
    )


def _gate_by_folds(
    data: TrainingSet, material: Material, strength: float, temperature: float, two_in_one: bool, progress: Progress
) -> TrainedGate:
    classes = len(data.intents)
    names = np.full(len(material.labels) - material.examples, -1)
    folds = np.append(stratified_folds(data.texts, data.labels, min(FOLDS, classes)), names)
    scope = ScopeTraining(data.intents, material.vectors, material.labels, folds, material.background, strength, temperature, two_in_one)
    return train_gate(scope, partial(progress, "scope"))


def _gate_from(
    head: LinearHead, index: ExampleIndex, temperature: float, inside: Matrix, labels: Labels, outside: Matrix, two_in_one: bool
) -> TrainedGate:
    parts = (inside, outside, mixtures(inside, labels))
    known, beyond, mixed = (features(head, index, temperature, part) for part in parts)
    return gate_of(Observed(known, np.arange(len(known)), known[:0], beyond, mixed), two_in_one)


def _encode(encoder: Encoder, texts: Sequence[str], progress: Callable[[int, int], None]) -> Matrix:
    chunks = [texts[start : start + ENCODE_CHUNK] for start in range(0, len(texts), ENCODE_CHUNK)]
    told = lambda done, _: progress(min(done * ENCODE_CHUNK, len(texts)), len(texts))  # noqa: E731  # a name for what is passed on
    encoded = in_order(encoder.encode, chunks, told)
    return np.concatenate(encoded) if encoded else np.empty((0, encoder.dimensions), dtype=np.float32)
