"""The `a2a` kind of destination: `Config` and `build`, as the adapter table wants them."""

from __future__ import annotations

from pathlib import Path

from adapters.a2a_agent.config import Config
from adapters.a2a_agent.peer import A2aPeer
from adapters.messaging.destination import MessageDestination
from router.ports import Clock, Random

__all__ = ["Config", "build"]


def build(settings: Config, *, name: str, clock: Clock, random: Random, root: Path = Path()) -> MessageDestination:
    return MessageDestination(name, settings, A2aPeer(settings, clock, root), clock, random)
