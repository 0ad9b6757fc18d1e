"""From examples to an IntentModel: deterministic for the same examples, encoder and `kept.TRAINING_VERSION`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from embeddings import storage
from embeddings.artefact import Artefact
from embeddings.errors import EmbeddingsError
from embeddings.examples import TrainingSet, training_set
from embeddings.kept import kept_model, training_folder
from embeddings.model import IntentModel
from embeddings.ports import Encoder, Progress
from embeddings.report import Report
from embeddings.report_storage import load_report, save_report

if TYPE_CHECKING:
    from embeddings.reporting import Judged

__all__ = ["Progress", "load_or_train", "report_of", "silent", "train"]


def silent(step: str, done: int, total: int) -> None:
    """Progress nobody watches."""


def train(
    examples: Mapping[str, Sequence[str]],
    out_of_scope: Sequence[str],
    encoder: Encoder,
    progress: Progress = silent,
) -> IntentModel:
    """`out_of_scope`: optional texts about no intent. Raises EmbeddingsError where no usable model can come of it."""
    return _trained(training_set(examples, out_of_scope), encoder, progress)[0]


def load_or_train(
    cache: Path,
    examples: Mapping[str, Sequence[str]],
    out_of_scope: Sequence[str],
    encoder: Encoder,
    progress: Progress = silent,
    reports: Path | None = None,
) -> IntentModel:
    """The model for these inputs from `cache`, trained and saved there at first; refused when altered. What training finds out about the
    examples is saved in the directory `reports`."""
    data = training_set(examples, out_of_scope)
    folder = training_folder(cache, data.digest, encoder.digest)
    found = kept_model(folder)
    if found is not None:
        return IntentModel(encoder, _for_inputs(storage.load(found), data, found))
    model, judged = _trained(data, encoder, progress)
    if reports is not None:
        _report(model, judged, reports)
    model.save(folder)
    return model


def report_of(
    model: IntentModel,
    examples: Mapping[str, Sequence[str]],
    out_of_scope: Sequence[str],
    reports: Path,
    progress: Progress = silent,
) -> Report:
    """The model's report from the directory `reports`, made again from the examples where it is gone. Raises EmbeddingsError for one that
    was altered."""
    found = load_report(reports, model.digest)
    if found is not None:
        return found
    data = training_set(examples, out_of_scope)
    judged = import_module("embeddings.fitting").judge(data, model.encoder, model.report["strength"], progress)
    return _report(model, judged, reports)


def _report(model: IntentModel, judged: Judged, reports: Path) -> Report:
    report: Report = import_module("embeddings.reporting").make_report(model.digest, judged)
    save_report(report, reports)
    return report


def _for_inputs(artefact: Artefact, data: TrainingSet, path: Path) -> Artefact:
    if artefact.examples_digest != data.digest:
        raise EmbeddingsError("model_altered", f"{path} was trained from other examples; delete it to train anew.")
    return artefact


def _trained(data: TrainingSet, encoder: Encoder, progress: Progress) -> tuple[IntentModel, Judged]:
    # Loaded when something is trained: a worker that finds its model cached is spared 65 MiB of scipy.
    fitting = import_module("embeddings.fitting")
    fitted = fitting.fit(data, fitting.embedding_of(encoder), progress)
    return IntentModel(encoder, fitted.artefact), fitted.judged(data)
