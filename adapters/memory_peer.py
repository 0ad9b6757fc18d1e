"""The in-memory twin of destinations that take messages: keeps what it was sent, once for each id."""

from __future__ import annotations

from collections.abc import Callable

from adapters.messaging.config import MessagingConfig
from adapters.messaging.destination import MessageDestination, Receipt, receipt
from adapters.messaging.message import Message
from router.ports import Clock, Random

__all__ = ["Config", "MemoryPeer", "build"]

PLACE = "memory"


class Config(MessagingConfig):
    """Settings of a `memory` destination: none of its own."""


class MemoryPeer:
    """`before` is called for each sending, and may raise; `messages` has the first of each id."""

    repeatable = True

    def __init__(self, before: Callable[[Message], None] | None = None) -> None:
        self.messages: dict[str, Message] = {}
        self.sendings = 0
        self._before = before

    async def open(self) -> None:
        return None

    async def close(self) -> None:
        return None

    async def ping(self) -> None:
        return None

    async def deliver(self, message: Message) -> Receipt:
        self.sendings += 1
        if self._before is not None:
            self._before(message)
        self.messages.setdefault(message.id, message)
        return receipt(PLACE, {"id": message.id})


def build(settings: Config, *, name: str, clock: Clock, random: Random, peer: MemoryPeer | None = None) -> MessageDestination:
    return MessageDestination(name, settings, peer or MemoryPeer(), clock, random)
