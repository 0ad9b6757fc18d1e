"""The `kafka` kind of destination: `Config` and `build`, as the adapter table wants them."""

from __future__ import annotations

from pathlib import Path

from adapters.kafka.config import DestinationConfig as Config
from adapters.kafka.peer import KafkaPeer
from adapters.messaging.destination import MessageDestination
from router.ports import Clock, Random

__all__ = ["Config", "build"]


def build(settings: Config, *, name: str, clock: Clock, random: Random, root: Path = Path()) -> MessageDestination:
    return MessageDestination(name, settings, KafkaPeer(settings, root), clock, random)
