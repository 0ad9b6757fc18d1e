"""The configured encoder, and the intent model trained for it."""

from __future__ import annotations

from pathlib import Path

from adapters.encoder_tier import EncoderTier
from adapters.static_tier import StaticTier
from embeddings.errors import EmbeddingsError
from embeddings.injection import InjectionHead, injection_head
from embeddings.minilm import minilm_directory
from embeddings.model import IntentModel
from embeddings.ports import Encoder
from embeddings.static_encoder import TABLE, StaticEncoder
from embeddings.static_model import StaticModel, load_beside, save_beside
from embeddings.train import Progress, load_or_train, silent
from router.config.judgement import MinilmEncoder, OnnxEncoderSettings, SentenceTransformersEncoder
from router.errors import ConfigError
from router.registry import ADAPTERS
from router.workspace import Workspace


def load_encoder(workspace: Workspace) -> Encoder:
    """Raises ConfigError in one sentence, which names what to install."""
    settings = workspace.encoder
    module = ADAPTERS.load("encoder", workspace.config.classifier.encoder.adapter)
    encoder: Encoder
    try:
        if isinstance(settings, OnnxEncoderSettings):
            encoder = module.OnnxEncoder(workspace.path(settings.directory), threads=settings.threads, expected_digest=settings.digest)
        elif isinstance(settings, MinilmEncoder):
            encoder = module.load_minilm(threads=settings.threads, expected_digest=settings.digest)
        elif isinstance(settings, SentenceTransformersEncoder):
            encoder = module.SentenceTransformersEncoder(settings.model, device=settings.device)
        else:
            raise ConfigError(f"There is no way to make an encoder from {type(settings).__name__}.")
    except EmbeddingsError as error:
        raise ConfigError(str(error)) from error
    return encoder


def ensure_model(workspace: Workspace, progress: Progress = silent) -> Path | None:
    """Where the model trained from this catalog is; trained now if it is not there yet. None for a catalog without intents."""
    if not any(intent.examples for intent in workspace.catalog.intents.values()):
        return None
    examples = {name: intent.examples for name, intent in workspace.catalog.intents.items() if intent.examples}
    cache = workspace.path(workspace.config.state) / "models"
    try:
        encoder = load_encoder(workspace)
        model = load_or_train(cache, examples, workspace.catalog.out_of_scope.examples, encoder, progress)
        injection_head(_injection_folder(workspace), encoder, lambda step, done, total: progress(f"injection: {step}", done, total))
        path = model.save(cache / "by-digest")
        static = static_encoder(workspace)
        if static is not None:
            told = lambda step, done, total: progress(f"static: {step}", done, total)  # noqa: E731  # the same steps once more
            save_beside(path, load_or_train(cache, examples, workspace.catalog.out_of_scope.examples, static, told))
    except EmbeddingsError as error:
        raise ConfigError(str(error)) from error
    return path


def static_encoder(workspace: Workspace) -> StaticEncoder | None:
    """None where it is switched off, or the encoder has no table of token vectors beside it."""
    settings = workspace.encoder
    if not workspace.config.classifier.static or not isinstance(settings, MinilmEncoder):
        return None
    directory = workspace.path(settings.directory) if isinstance(settings, OnnxEncoderSettings) else minilm_directory()
    return StaticEncoder(directory) if (directory / TABLE).is_file() else None


def load_static(workspace: Workspace, model: IntentModel, path: Path) -> StaticModel | None:
    """What goes with the encoder's model in `path`; None where nothing does, or where it would have nothing to answer."""
    try:
        encoder = static_encoder(workspace)
        return load_beside(path, model, encoder) if encoder is not None else None
    except EmbeddingsError as error:
        raise ConfigError(str(error)) from error


def make_tiers(workspace: Workspace, model: IntentModel | None, path: Path | None) -> tuple[StaticTier | EncoderTier, ...]:
    """The cascade, the cheapest tier first; none for a catalog without intents. Raises ConfigError."""
    if model is None or path is None:
        return ()
    static = load_static(workspace, model, path)
    encoder = EncoderTier(model, load_injection_head(workspace, model))
    return (encoder,) if static is None else (StaticTier(static), encoder)


def load_injection_head(workspace: Workspace, model: IntentModel) -> InjectionHead:
    try:
        return injection_head(_injection_folder(workspace), model.encoder)
    except EmbeddingsError as error:
        raise ConfigError(str(error)) from error


def _injection_folder(workspace: Workspace) -> Path:
    return workspace.path(workspace.config.state) / "models" / "injection"


def load_model(workspace: Workspace, path: Path) -> IntentModel:
    try:
        return IntentModel.load(path, load_encoder(workspace))
    except EmbeddingsError as error:
        raise ConfigError(str(error)) from error
