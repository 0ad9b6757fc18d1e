"""The intent model that was trained for exactly this workspace before, found by digests alone: no encoder is loaded to look for it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from embeddings.errors import EmbeddingsError
from embeddings.examples import training_set
from embeddings.kept import DESCRIPTION, beside, is_kept, kept_model, training_folder
from embeddings.manifest import TABLE, Manifest, read_manifest
from embeddings.minilm import minilm_directory
from embeddings.shipped import shipped_texts
from router.config.judgement import MemoryIndexSettings, MinilmEncoder, OnnxEncoderSettings
from router.wiring.prepared_models import VARIABLE
from router.workspace import Workspace


def find_kept(workspace: Workspace, environment: Mapping[str, str] = os.environ) -> Path | None:
    """What `ensure_model` would give, where it is certain that it would have nothing to train; None where it is to be asked, as for all
    that it refuses. Only what the encoder and the model say of themselves is read: who loads them refuses what was altered."""
    named = environment.get(VARIABLE)
    if not isinstance(workspace.index, MemoryIndexSettings) or (named and not Path(named).is_dir()):
        return None
    try:
        return _found(workspace)
    except (EmbeddingsError, OSError):
        return None


def _found(workspace: Workspace) -> Path | None:
    directory, settings = encoder_directory(workspace), workspace.encoder
    if directory is None or not isinstance(settings, OnnxEncoderSettings | MinilmEncoder):
        return None
    manifest = read_manifest(directory)
    if manifest.examples is not None or settings.digest not in {None, manifest.digest}:
        return None
    cache = workspace.path(workspace.config.state) / "models"
    examples = training_set(*examples_of(workspace)).digest
    trained = kept_model(training_folder(cache, examples, manifest.digest))
    guard = kept_model(training_folder(injection_folder(workspace), training_set(shipped_texts(), ()).digest, manifest.digest))
    if trained is None or guard is None or not is_kept(guard):
        return None
    model = cache / "by-digest" / trained.name
    has_table = workspace.config.classifier.static and (directory / TABLE).is_file()
    if not _is_of(model, examples, manifest.digest) or (has_table and not _static_is_kept(cache, examples, manifest, model)):
        return None
    return model


def _is_of(model: Path, examples: str, encoder: str) -> bool:
    """By what the model says of itself, to which its name holds it: a model of other examples may lie where this one belongs."""
    try:
        told = json.loads((model / DESCRIPTION).read_bytes())
        return bool(told["examples_digest"] == examples and told["encoder_digest"] == encoder)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _static_is_kept(cache: Path, examples: str, manifest: Manifest, model: Path) -> bool:
    if manifest.static_digest is None:
        return False
    trained, paired = kept_model(training_folder(cache, examples, manifest.static_digest)), kept_model(beside(model))
    return trained is not None and paired is not None and trained.name == paired.name and is_kept(trained) and is_kept(paired)


def examples_of(workspace: Workspace) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Those of each intent that has any, and those that are about none."""
    catalog = workspace.catalog
    return {name: intent.examples for name, intent in catalog.intents.items() if intent.examples}, catalog.out_of_scope.examples


def encoder_directory(workspace: Workspace) -> Path | None:
    """Where the encoder's files are; None for one that is no directory of ours."""
    settings = workspace.encoder
    if isinstance(settings, OnnxEncoderSettings):
        return workspace.path(settings.directory)
    return minilm_directory() if isinstance(settings, MinilmEncoder) else None


def injection_folder(workspace: Workspace) -> Path:
    return workspace.path(workspace.config.state) / "models" / "injection"
