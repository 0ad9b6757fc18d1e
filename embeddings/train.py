"""From examples to an IntentModel: deterministic for the same examples, encoder and TRAINING_VERSION."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from embeddings import storage
from embeddings.artefact import Artefact, Calibration
from embeddings.calibration import expected_calibration_error, fit_temperature, top_confidences
from embeddings.digests import digest_of
from embeddings.errors import EmbeddingsError
from embeddings.examples import TrainingSet, training_set
from embeddings.folds import FOLDS, stratified_folds
from embeddings.head import LinearHead
from embeddings.index import build_index
from embeddings.model import IntentModel
from embeddings.parallel import in_order, one_blas_thread
from embeddings.ports import Encoder, Matrix
from embeddings.scope_training import ScopeTraining, train_gate
from embeddings.training import STRENGTHS, cross_validate, fit_softmax

# Part of the cache key: raise it whenever the same examples would give another model.
TRAINING_VERSION = 3
ENCODE_CHUNK = 64

Progress = Callable[[str, int, int], None]
"""Called with the step's name, how much of it is done, and how much there is."""


def silent(step: str, done: int, total: int) -> None:
    """Progress nobody watches."""


def train(
    examples: Mapping[str, Sequence[str]],
    out_of_scope: Sequence[str],
    encoder: Encoder,
    progress: Progress = silent,
) -> IntentModel:
    """`out_of_scope`: optional texts about no intent. Raises EmbeddingsError where no usable model can come of it."""
    data = training_set(examples, out_of_scope)
    with one_blas_thread():
        return _train(data, encoder, progress)


def load_or_train(
    cache: Path,
    examples: Mapping[str, Sequence[str]],
    out_of_scope: Sequence[str],
    encoder: Encoder,
    progress: Progress = silent,
) -> IntentModel:
    """The model for these inputs from `cache`, trained and saved there at first; refused when altered."""
    data = training_set(examples, out_of_scope)
    folder = cache / _cache_key(data, encoder)
    found = [path for path in folder.glob("[0-9a-f]*") if path.is_dir()]
    if len(found) > 1:
        raise EmbeddingsError("model_altered", f"{folder} holds several models for one training; delete it.")
    if found:
        return IntentModel(encoder, _for_inputs(storage.load(found[0]), data, found[0]))
    with one_blas_thread():
        model = _train(data, encoder, progress)
    model.save(folder)
    return model


def _cache_key(data: TrainingSet, encoder: Encoder) -> str:
    inputs = {"examples": data.digest, "encoder": encoder.digest, "training_version": TRAINING_VERSION}
    return storage.directory_name(digest_of(inputs))[:32]


def _for_inputs(artefact: Artefact, data: TrainingSet, path: Path) -> Artefact:
    if artefact.examples_digest != data.digest:
        raise EmbeddingsError("model_altered", f"{path} was trained from other examples; delete it to train anew.")
    return artefact


def _train(data: TrainingSet, encoder: Encoder, progress: Progress) -> IntentModel:
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
    artefact = Artefact(
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
    return IntentModel(encoder, artefact)


def _encode(encoder: Encoder, texts: Sequence[str], progress: Callable[[int, int], None]) -> Matrix:
    rows = np.empty((len(texts), encoder.dimensions), dtype=np.float32)
    for start in range(0, len(texts), ENCODE_CHUNK):
        chunk = texts[start : start + ENCODE_CHUNK]
        rows[start : start + len(chunk)] = encoder.encode(chunk)
        progress(start + len(chunk), len(texts))
    return rows
