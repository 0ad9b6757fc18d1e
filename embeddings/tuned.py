"""A fine-tuned encoder carries the model that was trained with it: its confidences come from encoders that had not seen the texts, and no
training on the encoder alone could give them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embeddings import storage
from embeddings.artefact import Artefact
from embeddings.errors import EmbeddingsError
from embeddings.examples import TrainingSet
from embeddings.manifest import read_manifest
from embeddings.report import Report
from embeddings.report_storage import load_report, save_report

MODELS = "models"


@dataclass(frozen=True, slots=True)
class Tuned:
    """The model, and what training it found out about the examples."""

    artefact: Artefact
    report: Report


def save_with(directory: Path, tuned: Tuned) -> Path:
    """Beside the encoder in `directory`. Raises EmbeddingsError."""
    save_report(tuned.report, directory / MODELS)
    return storage.save(tuned.artefact, directory / MODELS)


def model_with(directory: Path, data: TrainingSet) -> Tuned | None:
    """None for an encoder that was not fine-tuned. Raises EmbeddingsError where it was for other examples, or its model is not there."""
    examples = read_manifest(directory).examples
    if examples is None:
        return None
    if examples != data.digest:
        raise EmbeddingsError(
            "encoder_tuned",
            f"{directory} was fine-tuned for other examples than the catalog has now; run `lockgate train --fine-tune auto`.",
        )
    found = sorted(path for path in (directory / MODELS).glob("[0-9a-f]*") if path.is_dir())
    if len(found) != 1:
        raise EmbeddingsError("model_missing", f"{directory / MODELS} holds {len(found)} models, a fine-tuned encoder has one.")
    artefact = storage.load(found[0])
    if artefact.examples_digest != data.digest:
        raise EmbeddingsError("model_altered", f"{found[0]} was trained from other examples than its encoder was tuned for.")
    report = load_report(directory / MODELS, artefact.digest)
    if report is None:
        raise EmbeddingsError("model_missing", f"{directory / MODELS} has no report of its model, and nobody could make it again.")
    return Tuned(artefact, report)
