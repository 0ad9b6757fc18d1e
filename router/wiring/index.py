"""Where the examples of the encoder tier's model are asked for."""

from __future__ import annotations

from typing import Any

from embeddings.artefact import Artefact
from embeddings.ports import Index, Progress
from router.config.judgement import QdrantIndexSettings
from router.registry import ADAPTERS
from router.system import SystemClock
from router.workspace import Workspace


def store_examples(workspace: Workspace, artefact: Artefact, progress: Progress) -> None:
    """Done before a model is taken into service; nothing where they are asked for in memory. Raises ConfigError, EmbeddingsError."""
    index = _made(workspace, artefact)
    if index is None:
        return
    try:
        index.store(artefact.index, progress)
        index.verify(artefact.index)
    finally:
        index.close()


def open_index(workspace: Workspace, artefact: Artefact) -> Index | None:
    """None for the artefact's own, in memory. Refuses one that does not answer as memory does. Raises ConfigError, EmbeddingsError."""
    index = _made(workspace, artefact)
    if index is None:
        return None
    try:
        index.verify(artefact.index)
    except BaseException:
        index.close()
        raise
    found: Index = index
    return found


def _made(workspace: Workspace, artefact: Artefact) -> Any:
    settings, module = workspace.index, ADAPTERS.load("index", workspace.config.classifier.index.adapter)
    if not isinstance(settings, QdrantIndexSettings):
        return None
    key = settings.api_key.reveal(workspace.root) if settings.api_key is not None else None
    return module.QdrantIndex(module.connect(settings, key), artefact, settings, SystemClock())
