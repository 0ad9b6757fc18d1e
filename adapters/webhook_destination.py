"""The `webhook` kind of destination: `Config` and `build`, as the adapter table wants them."""

from __future__ import annotations

from pathlib import Path

from aiohttp.abc import AbstractResolver

from adapters.messaging.destination import MessageDestination
from adapters.webhook.config import Config
from adapters.webhook.gone import Gone
from adapters.webhook.peer import WebhookPeer
from router.ports import Clock, Random

__all__ = ["Config", "build"]


def build(
    settings: Config,
    *,
    name: str,
    clock: Clock,
    random: Random,
    root: Path = Path(),
    state: Path | None = None,
    resolver: AbstractResolver | None = None,
) -> MessageDestination:
    """`state`: where is remembered which endpoints are gone. `resolver` instead of the system's."""
    return MessageDestination(name, settings, WebhookPeer(settings, clock, root, Gone(state, name), resolver), clock, random)
