"""The configured language model as the cascade's arbiter."""

from __future__ import annotations

from router.config.judgement import LlmConfig
from router.ports import Chat, ChatObserver, Clock
from router.registry import ADAPTERS
from router.stages.llm_arbiter import UNSURE, LlmArbiter
from router.stages.llm_choice import Described, prompt_digest
from router.stages.signals import SignalDetector
from router.workspace import Workspace


def make_arbiter(workspace: Workspace, clock: Clock, workers: int, observer: ChatObserver | None) -> LlmArbiter | None:
    """None unless it is switched on. Raises ConfigError, which names what to install."""
    config = workspace.config.classifier.llm
    if config is None:
        return None
    catalog = workspace.catalog
    described = {name: Described(name, intent.description, intent.boundaries) for name, intent in catalog.intents.items()}
    return LlmArbiter(
        make_chat(workspace, config, clock, workers, observer),
        described,
        workspace.llm_calibration,
        allowed=frozenset(name for name, intent in catalog.intents.items() if catalog.routes[intent.route].llm),
        mask=str if config.raw_text else SignalDetector().mask,
        prompt_digest=asked_digest(config),
        catalog_digest=workspace.digests.catalog,
        candidates=config.candidates,
        asked_about=UNSURE | {"out_of_scope"} if config.out_of_scope else UNSURE,
        cache_size=config.cache,
    )


def make_chat(workspace: Workspace, config: LlmConfig, clock: Clock, workers: int, observer: ChatObserver | None) -> Chat:
    """Each worker keeps its own budget, so each gets its share."""
    adapter = ADAPTERS.load("language model", "litellm")
    key = config.api_key.reveal(workspace.root) if config.api_key is not None else None
    chat: Chat = adapter.LitellmChat(config, key, tokens_per_minute=config.tokens_per_minute / workers, clock=clock, observer=observer)
    return chat


def asked_digest(config: LlmConfig) -> str:
    """What a calibration must have been measured with."""
    return prompt_digest(
        config.response_format, str(config.candidates), str(config.out_of_scope), str(config.max_tokens), str(config.raw_text)
    )
