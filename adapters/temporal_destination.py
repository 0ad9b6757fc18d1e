"""The `temporal` kind of destination: `Config`, `build`, `follower` and `resumes`, as the adapter table wants them."""

from __future__ import annotations

from adapters.messaging.destination import MessageDestination
from adapters.temporal.config import Config
from adapters.temporal.follower import TemporalFollower
from adapters.temporal.peer import TemporalPeer
from router.ports import Clock, Random

__all__ = ["Config", "build", "follower", "resumes"]


def build(settings: Config, *, name: str, clock: Clock, random: Random) -> MessageDestination:
    return MessageDestination(name, settings, TemporalPeer(name, settings), clock, random)


def follower(settings: Config, *, name: str) -> TemporalFollower:
    return TemporalFollower(name, settings)


def resumes(settings: Config) -> bool:
    """Whether it takes up work that waits; else it starts new work each time."""
    return settings.action != "start"
