"""The `kafka` kind of event source: `Config` and `build`, as the adapter table wants them."""

from __future__ import annotations

from pathlib import Path

from adapters.kafka.config import ConsumerConfig as Config
from adapters.kafka.consumer import KafkaConsumer
from router.ports import Clock, Random

__all__ = ["Config", "build"]


def build(settings: Config, *, name: str, clock: Clock, random: Random, root: Path = Path()) -> KafkaConsumer:
    return KafkaConsumer(name, settings, root)
