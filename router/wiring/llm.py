"""The configured language model as the cascade's arbiter."""

from __future__ import annotations

import json
from pathlib import Path

from router.config.judgement import ChatConfig, LlmConfig
from router.ports import Chat, ChatObserver, Clock, SharedAnswers
from router.registry import ADAPTERS
from router.stages.llm_arbiter import UNSURE, LlmArbiter
from router.stages.llm_calibration import LlmCalibration
from router.stages.llm_choice import Described, prompt_digest
from router.stages.signals import SignalDetector
from router.wiring.stages import recogniser
from router.workspace import Workspace, tuned_settings

ASKING = {"url", "provider", "model", "response_format", "candidates", "out_of_scope", "max_tokens", "raw_text"}
# What decides how an encoder is reached, and not which vectors it gives.
REACHING = {"threads", "url", "api_key", "ca", "deadline", "batch", "batch_deadline", "failures", "open_for"}


def make_arbiter(
    workspace: Workspace, clock: Clock, workers: int, observer: ChatObserver | None, shared: SharedAnswers | None = None
) -> LlmArbiter | None:
    """None unless it is switched on. Raises ConfigError, which names what to install."""
    config = workspace.config.classifier.llm
    if config is None:
        return None
    return arbiter_with(make_chat(config, workspace.root, clock, workers, observer), workspace, config, shared)


def arbiter_with(chat: Chat, workspace: Workspace, config: LlmConfig, shared: SharedAnswers | None = None) -> LlmArbiter:
    """Of the workspace's catalog. Raises ConfigError."""
    catalog = workspace.catalog
    described = {name: Described(name, intent.description, intent.boundaries) for name, intent in catalog.intents.items()}
    return LlmArbiter(
        chat,
        described,
        workspace.llm_calibration,
        allowed=frozenset(name for name, intent in catalog.intents.items() if catalog.routes[intent.route].llm),
        mask=str if config.raw_text else SignalDetector(recogniser=recogniser(workspace)).mask,
        prompt_digest=asked_digest(workspace),
        catalog_digest=workspace.digests.catalog,
        candidates=config.candidates,
        asked_about=asked_about(config),
        cache_size=config.cache,
        shared=shared,
    )


def asked_about(config: LlmConfig) -> frozenset[str]:
    """Reasons of an abstention."""
    return UNSURE | {"out_of_scope"} if config.out_of_scope else UNSURE


def make_chat(config: ChatConfig, root: Path, clock: Clock, workers: int, observer: ChatObserver | None) -> Chat:
    """Each worker keeps its own budget, so each gets its share. A key's file is relative to `root`."""
    adapter = ADAPTERS.load("language model", "litellm")
    key = config.api_key.reveal(root) if config.api_key is not None else None
    tokens = config.tokens_per_minute / workers
    chat: Chat = adapter.LitellmChat(config, key, tokens_per_minute=tokens, clock=clock, observer=observer, root=root)
    return chat


def fits(workspace: Workspace, calibration: LlmCalibration) -> bool:
    """Whether it was measured with what is asked now."""
    return (calibration.prompt_digest, calibration.catalog_digest) == (asked_digest(workspace), workspace.digests.catalog)


def asked_digest(workspace: Workspace) -> str:
    """What a calibration must have been measured with: all that changes what is asked, or about which texts."""
    classifier = workspace.config.classifier
    llm = classifier.llm.model_dump(include=ASKING) if classifier.llm is not None else {}
    tuned = workspace.tuned.digest if workspace.tuned is not None else None
    encoder = [classifier.encoder.adapter, workspace.encoder.model_dump(exclude=REACHING)]
    return prompt_digest(json.dumps([llm, encoder, tuned_settings(workspace.config), tuned], sort_keys=True))
