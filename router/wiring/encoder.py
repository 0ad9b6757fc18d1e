"""The configured encoder, and the intent model trained for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adapters.encoder_tier import EncoderTier
from adapters.shared_tier import SharedTier
from adapters.static_tier import StaticTier
from embeddings import storage
from embeddings.errors import EmbeddingsError
from embeddings.examples import training_set
from embeddings.injection import InjectionHead, injection_head
from embeddings.manifest import TABLE
from embeddings.model import IntentModel
from embeddings.onnx_encoder import OnnxEncoder
from embeddings.ports import Encoder
from embeddings.report import Report
from embeddings.report_storage import save_report
from embeddings.static_encoder import StaticEncoder
from embeddings.static_model import StaticModel, load_beside, save_beside
from embeddings.train import Progress, load_or_train, report_of, silent
from embeddings.tuned import model_with
from router.config.judgement import (
    LitellmEncoderSettings,
    MemoryIndexSettings,
    MinilmEncoder,
    OnnxEncoderSettings,
    SentenceTransformersEncoder,
)
from router.errors import ConfigError
from router.ports import SharedAnswers, Tier
from router.registry import ADAPTERS
from router.stages.signals import SignalDetector
from router.system import SystemClock
from router.wiring.index import open_index, store_examples
from router.wiring.kept_model import encoder_directory, examples_of, injection_folder
from router.wiring.languages import language_identifier
from router.wiring.prepared_models import take_prepared
from router.wiring.stages import recogniser
from router.workspace import Workspace

AT_ONCE_CHARACTERS, AT_ONCE_TOKENS = 100, 32
AT_ONCE_BYTES = 32 << 20  # of a model; all-MiniLM-L6 has 23 MB


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
            beside = workspace.path(settings.model)
            encoder = module.SentenceTransformersEncoder(
                str(beside) if beside.is_dir() else settings.model,
                revision=settings.revision,
                device=settings.device,
                expected_digest=settings.digest,
            )
        elif isinstance(settings, LitellmEncoderSettings):
            encoder = _served(workspace, module, settings)
        else:
            raise ConfigError(f"There is no way to make an encoder from {type(settings).__name__}.")
    except EmbeddingsError as error:
        raise ConfigError(str(error)) from error
    return encoder


def _served(workspace: Workspace, module: Any, settings: LitellmEncoderSettings) -> Encoder:
    """It sees every text masked, examples as well as requests: so what a confidence was calibrated on is what is asked about."""
    key = settings.api_key.reveal(workspace.root) if settings.api_key is not None else None
    looking = workspace.recogniser.model_dump(mode="json") if workspace.recogniser is not None else None
    encoder: Encoder = module.LitellmEncoder(
        settings,
        key,
        mask=str if settings.raw_text else SignalDetector(recogniser=recogniser(workspace)).mask,
        masking=None if settings.raw_text else ["masked", looking],
        clock=SystemClock(),
        root=workspace.root,
    )
    return encoder


def ensure_model(workspace: Workspace, progress: Progress = silent) -> Path | None:
    """Where the model trained from this catalog is; trained now if it is not there yet. None for a catalog without intents."""
    if not any(intent.examples for intent in workspace.catalog.intents.values()):
        return None
    examples, outside = examples_of(workspace)
    cache = workspace.path(workspace.config.state) / "models"
    models = cache / "by-digest"
    take_prepared(cache)
    try:
        encoder, directory = load_encoder(workspace), encoder_directory(workspace)
        tuned = model_with(directory, training_set(examples, outside)) if directory is not None else None
        if tuned is not None:
            model = IntentModel(encoder, tuned.artefact)
            save_report(tuned.report, models)
        else:
            model = load_or_train(cache, examples, outside, encoder, progress, models)
        injection_head(injection_folder(workspace), encoder, lambda step, done, total: progress(f"injection: {step}", done, total))
        path = model.save(models)
        store_examples(workspace, model.artefact, progress)
        static = static_encoder(workspace)
        if static is not None:
            told = lambda step, done, total: progress(f"static: {step}", done, total)  # noqa: E731  # the same steps once more
            save_beside(path, load_or_train(cache, examples, outside, static, told))
        language_identifier(workspace)  # unpacked before those come who serve, and for an image
    except EmbeddingsError as error:
        raise ConfigError(str(error)) from error
    return path


def load_training_report(workspace: Workspace, model: IntentModel, path: Path, progress: Progress = silent) -> Report:
    """What training the model in `path` found out about the catalog's examples. Raises ConfigError."""
    try:
        return report_of(model, *examples_of(workspace), path.parent, progress)
    except EmbeddingsError as error:
        raise ConfigError(str(error)) from error


def static_encoder(workspace: Workspace) -> StaticEncoder | None:
    """None where it is switched off, or the encoder has no table of token vectors beside it."""
    directory = encoder_directory(workspace) if workspace.config.classifier.static else None
    return StaticEncoder(directory) if directory is not None and (directory / TABLE).is_file() else None


def load_static(workspace: Workspace, model: IntentModel, path: Path) -> StaticModel | None:
    """What goes with the encoder's model in `path`; None where nothing does, or where it would have nothing to answer."""
    try:
        encoder = static_encoder(workspace)
        return load_beside(path, model, encoder) if encoder is not None else None
    except EmbeddingsError as error:
        raise ConfigError(str(error)) from error


def make_tiers(
    workspace: Workspace, model: IntentModel | None, path: Path | None, alone: Callable[[], bool] = lambda: False
) -> tuple[StaticTier | EncoderTier, ...]:
    """The cascade, the cheapest tier first; none for a catalog without intents. `alone`: whether nobody but the request that asks would
    wait if the event loop stood still. Raises ConfigError."""
    if model is None or path is None:
        return ()
    static = load_static(workspace, model, path)
    coverage = workspace.config.classifier.coverage
    here = isinstance(workspace.index, MemoryIndexSettings)
    may = at_once(model.encoder, alone) if here else None
    encoder = EncoderTier(model, coverage, load_injection_head(workspace, model), may)
    return (encoder,) if static is None else (StaticTier(static, coverage), encoder)


def shared_tiers(
    workspace: Workspace, tiers: Sequence[StaticTier | EncoderTier], model: IntentModel | None, answers: SharedAnswers | None
) -> list[Tier]:
    """The encoder's answers are used by all nodes whose encoder would answer the same, up to what CPUs differ in."""
    if answers is None or model is None:
        return list(tiers)
    classifier = workspace.config.classifier
    digests = [workspace.digests.catalog, model.encoder_digest, model.digest, model.calibration_digest]
    index = [classifier.index.adapter, workspace.index.model_dump(mode="json") if workspace.index is not None else None]
    about = json.dumps([version("lockgate"), *digests, classifier.coverage, index])
    return [SharedTier(each, answers, about) if isinstance(each, EncoderTier) else each for each in tiers]


def at_once(encoder: Encoder, alone: Callable[[], bool]) -> Callable[[str], bool]:
    """Texts of few tokens only, and small models: the loop stands still for one short forward at the most. Of other encoders it is not
    known how long they take, and some wait for a server."""
    if not isinstance(encoder, OnnxEncoder) or encoder.bytes > AT_ONCE_BYTES:
        return lambda text: False

    def few(text: str) -> bool:
        return len(text) <= AT_ONCE_CHARACTERS and len(encoder.token_ids(text)) <= AT_ONCE_TOKENS

    return lambda text: alone() and few(text)


def load_injection_head(workspace: Workspace, model: IntentModel) -> InjectionHead:
    try:
        return injection_head(injection_folder(workspace), model.encoder)
    except EmbeddingsError as error:
        raise ConfigError(str(error)) from error


def load_model(workspace: Workspace, path: Path) -> IntentModel:
    try:
        encoder, artefact = load_encoder(workspace), storage.load(path)
        model, index = IntentModel(encoder, artefact), open_index(workspace, artefact)
        return model if index is None else IntentModel(encoder, artefact, index)
    except EmbeddingsError as error:
        raise ConfigError(str(error)) from error
