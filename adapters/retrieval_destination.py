"""The `retrieval` kind of destination: `Config` and `build`, as the adapter table wants them."""

from __future__ import annotations

from pathlib import Path

from adapters.messaging.destination import MessageDestination
from adapters.retrieval.config import Config
from adapters.retrieval.peer import RetrievalPeer
from router.ports import Clock, Random

__all__ = ["Config", "build"]


def build(settings: Config, *, name: str, clock: Clock, random: Random, root: Path = Path()) -> MessageDestination:
    return MessageDestination(name, settings, RetrievalPeer(settings, clock, root), clock, random)
