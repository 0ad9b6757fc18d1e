"""The `llm` kind of destination: `Config` and `build`, as the adapter table wants them."""

from __future__ import annotations

from pathlib import Path

from adapters.llm.config import Config
from adapters.llm.peer import LlmPeer
from adapters.messaging.destination import MessageDestination
from router.masking import Masker
from router.ports import Clock, Random

__all__ = ["Config", "build"]


def build(
    settings: Config, *, name: str, clock: Clock, random: Random, mask: Masker, root: Path = Path(), state: Path | None = None
) -> MessageDestination:
    """`mask` finds personal data and credentials in an answer; `state` is where used tokens are counted."""
    return MessageDestination(name, settings, LlmPeer(settings, name, clock, root, state, mask), clock, random)
