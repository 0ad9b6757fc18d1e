"""What training does, step by step; everything here needs scipy, which serving does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from embeddings.artefact import Artefact, Calibration
from embeddings.binned import expected_calibration_error
from embeddings.calibration import fit_temperature, probabilities_of, top_confidences
from embeddings.encoding import encode_all
from embeddings.examples import TrainingSet
from embeddings.folds import FOLDS, stratified_folds
from embeddings.head import LinearHead
from embeddings.index import ExampleIndex, build_index
from embeddings.material import Embedding, Encoded, Frozen, Lesson, Texts, texts_of
from embeddings.numeric import Floats, Labels
from embeddings.parallel import in_order, one_blas_thread
from embeddings.ports import Encoder, Matrix, Progress
from embeddings.reporting import Judged
from embeddings.scope_training import (
    ENOUGH_BACKGROUND,
    Observed,
    ScopeTraining,
    TrainedGate,
    features,
    gate_of,
    mixtures,
    scope_lesson,
    train_gate,
    with_background,
)
from embeddings.spelling import Spelling, words_of
from embeddings.static_encoder import StaticEncoder
from embeddings.token_learning import TaughtTable
from embeddings.token_rows import learnt_by
from embeddings.training import STRENGTHS, Coefficients, OutOfFold, choose, cross_validate, fit_softmax


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Texts that are set apart for calibration: nothing is learnt from them but what the scores mean."""

    texts: tuple[str, ...]
    labels: Labels
    out_of_scope: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """`lessons`: everything, `folds` folds of examples, and the groups of intents. fold_of (n,): the fold that a text is held out in, -1
    for never; group_folds (n,): the same for the gate."""

    lessons: list[Lesson]
    fold_of: Labels
    folds: int
    group_folds: Labels


@dataclass(frozen=True, slots=True)
class Final:
    strength: float
    coefficients: Coefficients


@dataclass(frozen=True, slots=True)
class Scored:
    """Logits (n, intents) of examples by a head that did not see them; `rows` (n,) says which examples these are."""

    logits: Floats
    labels: Labels
    rows: Labels

    @property
    def temperature(self) -> float:
        return fit_temperature(self.logits, self.labels)


@dataclass(frozen=True, slots=True)
class Fitted:
    """What came out: the encoder is the one that the head is for."""

    artefact: Artefact
    encoder: Encoder
    scored: Scored
    vectors: Matrix

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the first candidate of each held-out text is right."""
        right: NDArray[np.bool_] = self.scored.logits.argmax(axis=1) == self.scored.labels
        return right

    def judged(self, data: TrainingSet) -> Judged:
        """What cross-validation found out about the examples; there is nothing of it where other texts were held out."""
        return Judged(data.intents, data.texts, data.labels, self.vectors, self.scored.rows, self.scored.logits, self.scored.temperature)


def embedding_of(encoder: Encoder) -> Embedding:
    """A table of tokens is taught by the examples; any other encoder stays as it is."""
    return TaughtTable(encoder) if isinstance(encoder, StaticEncoder) else Frozen(encoder)


def fit(data: TrainingSet, embedding: Embedding, progress: Progress, held_out: HeldOut | None = None) -> Fitted:
    """Calibrated on `held_out`, or by cross-validation where there is none."""
    with one_blas_thread():
        return _fit(data, embedding, progress, held_out)


def _fit(data: TrainingSet, embedding: Embedding, progress: Progress, held_out: HeldOut | None) -> Fitted:
    texts = texts_of(data)
    plan = _plan(data, texts, embedding.folds, held_out)
    encoder, encoded = embedding.encode(texts, plan.lessons, progress)
    whole, by_fold, by_group = encoded[0], encoded[1 : 1 + plan.folds], encoded[1 + plan.folds :]
    apart = _encode_apart(data, encoder, held_out, progress)
    scored, final = (
        _by_folds(plan, texts, whole, by_fold, progress) if held_out is None else _by_held_out(texts, whole, apart, held_out, progress)
    )
    head = LinearHead(np.ascontiguousarray(final.coefficients.weights), final.coefficients.bias.astype(np.float32), data.intents)
    index = build_index(whole.vectors[: texts.examples], data.labels, len(data.intents))
    if held_out is not None and len(held_out.out_of_scope) >= ENOUGH_BACKGROUND:
        gate = _gate_from(head, index, scored.temperature, apart, held_out.labels, encoder.additive)
    else:
        training = ScopeTraining(
            data.intents, texts.labels, texts.examples, plan.group_folds, by_group, final.strength, scored.temperature, encoder.additive
        )
        gate = train_gate(training, partial(progress, "scope"))
        if held_out is not None:  # the gate's folds are of the examples, and nothing ties them to these texts
            gate = replace(gate, rows=np.empty(0, dtype=np.intp))
    return Fitted(_artefact(data, encoder, head, index, scored, gate, final.strength), encoder, scored, whole.vectors[: texts.examples])


def judge(data: TrainingSet, encoder: Encoder, strength: float, progress: Progress) -> Judged:
    """What `fit` finds out about the examples where it chooses this strength, without a head being made."""
    with one_blas_thread():
        texts, embedding = texts_of(data), embedding_of(encoder)
        plan = _plan(data, texts, embedding.folds, None)
        _, encoded = embedding.encode(texts, plan.lessons, progress)
        crossed = _crossed(plan, texts, encoded[0], encoded[1 : 1 + plan.folds], (strength,), progress)
    temperature = fit_temperature(crossed.logits, texts.labels[crossed.rows])
    vectors = encoded[0].vectors[: texts.examples]
    return Judged(data.intents, data.texts, data.labels, vectors, crossed.rows, crossed.logits, temperature)


def _plan(data: TrainingSet, texts: Texts, most_folds: int, held_out: HeldOut | None) -> Plan:
    """The first lesson is everything; then one for each fold of examples that the head is cross-validated with, and one for each group of
    intents that the gate is."""
    background = np.ones(len(texts.background), dtype=bool)
    folds = _folds(data, texts, FOLDS, most_folds) if held_out is None else np.full(len(texts.labels), -1, dtype=np.intp)
    numbers = range(int(folds.max()) + 1)
    groups = min(FOLDS, len(data.intents))
    group_folds = _folds(data, texts, groups, most_folds)
    needs_groups = held_out is None or len(held_out.out_of_scope) < ENOUGH_BACKGROUND
    lessons = [Lesson(np.ones(len(texts.labels), dtype=bool), background)]
    lessons += [Lesson(folds != number, background) for number in numbers]
    if needs_groups:
        lessons += [scope_lesson(data.intents, texts.labels, group_folds, len(background), fold) for fold in range(min(groups, most_folds))]
    return Plan(lessons, folds, len(numbers), group_folds)


def _folds(data: TrainingSet, texts: Texts, folds: int, most: int) -> Labels:
    """Those beyond the first `most` folds are never held out, as the names are not."""
    assigned = stratified_folds(data.texts, data.labels, folds)
    assigned[assigned >= most] = -1
    return np.append(assigned, np.full(len(texts.labels) - texts.examples, -1))


def _by_folds(plan: Plan, texts: Texts, whole: Encoded, by_fold: Sequence[Encoded], progress: Progress) -> tuple[Scored, Final]:
    classes = int(texts.labels.max()) + 1
    vectors, labels = with_background(whole.vectors, texts.labels, whole.background, classes)
    crossed = _crossed(plan, texts, whole, by_fold, STRENGTHS, progress)
    (found,) = in_order(
        lambda strength: fit_softmax(vectors, labels, int(labels.max()) + 1, strength), [crossed.strength], partial(progress, "head")
    )
    return Scored(crossed.logits, labels[crossed.rows], crossed.rows), Final(crossed.strength, found)


def _crossed(
    plan: Plan, texts: Texts, whole: Encoded, by_fold: Sequence[Encoded], strengths: Sequence[float], progress: Progress
) -> OutOfFold:
    classes = int(texts.labels.max()) + 1
    vectors, labels = with_background(whole.vectors, texts.labels, whole.background, classes)
    folds = np.append(plan.fold_of, np.full(len(labels) - len(plan.fold_of), -1))
    stacked = [vectors if each is whole else with_background(each.vectors, texts.labels, each.background, classes)[0] for each in by_fold]
    return cross_validate(stacked, labels, classes, folds, strengths, partial(progress, "cross-validate"))


def _by_held_out(texts: Texts, whole: Encoded, apart: Encoded, held_out: HeldOut, progress: Progress) -> tuple[Scored, Final]:
    """The strength, too, is chosen by the texts that are set apart."""
    classes = int(texts.labels.max()) + 1
    vectors, labels = with_background(whole.vectors, texts.labels, whole.background, classes)
    heads = in_order(lambda strength: fit_softmax(vectors, labels, int(labels.max()) + 1, strength), STRENGTHS, partial(progress, "head"))
    rows = np.arange(len(held_out.labels))
    scored = [OutOfFold(strength, rows, head.logits(apart.vectors)[:, :classes]) for strength, head in zip(STRENGTHS, heads, strict=True)]
    chosen = choose(scored, held_out.labels)
    return Scored(chosen.logits, held_out.labels, rows), Final(chosen.strength, heads[STRENGTHS.index(chosen.strength)])


def _encode_apart(data: TrainingSet, encoder: Encoder, held_out: HeldOut | None, progress: Progress) -> Encoded:
    """Spelt as they will be when serving."""
    inside, outside = ((), ()) if held_out is None else (held_out.texts, held_out.out_of_scope)
    spelling = Spelling(words_of(data.texts), encoder.words)
    parts = ([spelling.corrected(text) for text in texts] for texts in (inside, outside))
    return Encoded(*(encode_all(encoder, texts, partial(progress, "encode calibration")) for texts in parts))


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
        rows=learnt_by(encoder),
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
        rows=scored.rows,
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


def _gate_from(head: LinearHead, index: ExampleIndex, temperature: float, apart: Encoded, labels: Labels, two_in_one: bool) -> TrainedGate:
    parts = (apart.vectors, apart.background, mixtures(apart.vectors, labels))
    known, beyond, mixed = (features(head, index, temperature, part) for part in parts)
    return gate_of(Observed(known, np.arange(len(known)), known[:0], beyond, mixed), two_in_one)
