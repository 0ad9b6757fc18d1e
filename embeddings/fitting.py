"""What training does, step by step; everything here needs scipy, which serving does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from embeddings.artefact import Artefact, Calibration
from embeddings.calibration import expected_calibration_error, fit_temperature, top_confidences
from embeddings.examples import TrainingSet
from embeddings.folds import FOLDS, stratified_folds
from embeddings.head import LinearHead
from embeddings.index import build_index
from embeddings.parallel import in_order, one_blas_thread
from embeddings.ports import Encoder, Matrix, Progress
from embeddings.scope_training import ScopeTraining, train_gate
from embeddings.training import STRENGTHS, cross_validate, fit_softmax

ENCODE_CHUNK = 64


def fit(data: TrainingSet, encoder: Encoder, progress: Progress) -> Artefact:
    with one_blas_thread():
        return _fit(data, encoder, progress)


def _fit(data: TrainingSet, encoder: Encoder, progress: Progress) -> Artefact:
    classes = len(data.intents)
    vectors = _encode(encoder, data.texts, partial(progress, "encode"))
    background = _encode(encoder, data.out_of_scope, partial(progress, "encode out-of-scope"))
    folds = stratified_folds(data.texts, data.labels)
    held_out = cross_validate(vectors, data.labels, classes, folds, STRENGTHS, partial(progress, "cross-validate"))
    temperature = fit_temperature(held_out.logits, data.labels[held_out.rows])
    confidences, correct = top_confidences(held_out.logits, data.labels[held_out.rows], temperature)
    scope_folds = stratified_folds(data.texts, data.labels, min(FOLDS, classes))
    scope = ScopeTraining(data.intents, vectors, data.labels, scope_folds, background, held_out.strength, temperature)
    scope_gate = train_gate(scope, partial(progress, "scope"))
    (final,) = in_order(
        lambda strength: fit_softmax(vectors, data.labels, classes, strength), [held_out.strength], partial(progress, "head")
    )
    return Artefact(
        head=LinearHead(np.ascontiguousarray(final.weights), final.bias.astype(np.float32), data.intents),
        index=build_index(vectors, data.labels, classes),
        calibration=Calibration(temperature, scope_gate.gate, confidences, correct, scope_gate.in_scope),
        encoder_digest=encoder.digest,
        examples_digest=data.digest,
        report={
            "examples": float(len(data.texts)),
            "held_out_accuracy": float(correct.mean()),
            "held_out_calibration_error": expected_calibration_error(confidences, correct),
            "strength": held_out.strength,
            "scope_auroc": scope_gate.auroc,
        },
    )


def _encode(encoder: Encoder, texts: Sequence[str], progress: Callable[[int, int], None]) -> Matrix:
    rows = np.empty((len(texts), encoder.dimensions), dtype=np.float32)
    for start in range(0, len(texts), ENCODE_CHUNK):
        chunk = texts[start : start + ENCODE_CHUNK]
        rows[start : start + len(chunk)] = encoder.encode(chunk)
        progress(start + len(chunk), len(texts))
    return rows
