"""Fine-tunes the configured encoder to the catalog's examples."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from embeddings.errors import EmbeddingsError
from embeddings.examples import training_set
from embeddings.fine_tuning.published import missing
from embeddings.manifest import read_manifest
from embeddings.minilm import minilm_directory
from embeddings.onnx_encoder import OnnxEncoder
from embeddings.ports import Progress
from embeddings.tuned import Tuned, save_with
from router.errors import ConfigError
from router.wiring.kept_model import encoder_directory
from router.workspace import Workspace


@dataclass(frozen=True, slots=True)
class FineTuned:
    """`directory` and `digest` of the encoder that came out, None where it was no better than before on the `held_out` texts."""

    directory: Path | None
    digest: str | None
    accuracy_before: float
    accuracy_after: float
    held_out: int


def fine_tune(workspace: Workspace, progress: Progress) -> FineTuned:
    """Writes an encoder directory below the state folder where it pays. Raises ConfigError."""
    base = encoder_directory(workspace)
    if base is None:
        raise ConfigError("Only the encoders `minilm` and `onnx` can be fine-tuned.")
    lacking = missing()
    if lacking is not None:
        raise ConfigError(lacking)
    examples = {name: intent.examples for name, intent in workspace.catalog.intents.items() if intent.examples}
    target = workspace.path(workspace.config.state) / "encoders"
    try:
        if read_manifest(base).examples is not None:
            base = minilm_directory()  # one that was tuned already has seen the texts that it would be judged by
        data = training_set(examples, workspace.catalog.out_of_scope.examples)
        found = import_module("embeddings.fine_tuning.training").fit_best(data, OnnxEncoder(base), base, target, progress)  # brings PyTorch
        if found.directory is None:
            return FineTuned(None, None, found.frozen_accuracy, found.tuned_accuracy, found.held_out)
        artefact, make_report = found.fitted.artefact, import_module("embeddings.reporting").make_report
        save_with(found.directory, Tuned(artefact, make_report(artefact.digest, found.fitted.judged(data))))
        digest = read_manifest(found.directory).digest
    except EmbeddingsError as error:
        raise ConfigError(str(error)) from error
    return FineTuned(found.directory, digest, found.frozen_accuracy, found.tuned_accuracy, found.held_out)
