"""The `nats` kind of destination: `Config` and `build`, as the adapter table wants them."""

from __future__ import annotations

from pathlib import Path

from adapters.messaging.destination import MessageDestination
from adapters.nats.config import DestinationConfig as Config
from adapters.nats.peer import NatsPeer
from router.ports import Clock, Random

__all__ = ["Config", "build"]


def build(settings: Config, *, name: str, clock: Clock, random: Random, root: Path = Path()) -> MessageDestination:
    return MessageDestination(name, settings, NatsPeer(settings, root), clock, random)
