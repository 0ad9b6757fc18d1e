"""The `nats` kind of event source: `Config` and `build`, as the adapter table wants them."""

from __future__ import annotations

from pathlib import Path

from adapters.nats.config import ConsumerConfig as Config
from adapters.nats.consumer import NatsConsumer
from router.ports import Clock, Random

__all__ = ["Config", "build"]


def build(settings: Config, *, name: str, clock: Clock, random: Random, root: Path = Path()) -> NatsConsumer:
    return NatsConsumer(name, settings, root)
