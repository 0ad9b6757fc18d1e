"""The `rabbitmq` kind of destination: `Config` and `build`, as the adapter table wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pamqp.commands import Basic

from adapters.messaging.destination import MessageDestination, Receipt, receipt
from adapters.messaging.message import Message, unmapped
from adapters.messaging.scoped import scoped
from adapters.rabbitmq.config import Config
from adapters.rabbitmq.line import Line
from adapters.rabbitmq.publisher import Parcel, Publisher
from router.ports import Clock, Random

__all__ = ["Config", "build"]

PERSISTENT = 2
LONGEST = 255
"""AMQP's short strings (AMQP 0-9-1, 4.2.5.3)."""


class RabbitPeer:
    def __init__(self, settings: Config, name: str, root: Path) -> None:
        self.repeatable = settings.act_once
        self._settings = settings
        self._line = Line(settings, root, f"lockgate {name}")
        self._publisher = Publisher(self._line)

    async def open(self) -> None:
        self._line.prepare()

    async def close(self) -> None:
        await self._publisher.close()
        await self._line.close()

    async def ping(self) -> None:
        await self._line.ready()

    async def deliver(self, message: Message) -> Receipt:
        exchange = "" if self._settings.exchange is None else _short(message.text(self._settings.exchange), "exchange")
        routing_key = _short(message.text(self._settings.routing_key), "routing key")
        message_id = scoped(message)
        properties = Basic.Properties(
            content_type=_short(message.content_type, "content type") or None,
            delivery_mode=PERSISTENT,
            message_id=message_id,
            correlation_id=message.decision_id or None,
            headers=self._headers(message),
            app_id="lockgate",
        )
        await self._publisher.publish(Parcel(exchange, routing_key, message.content, properties))
        return receipt(self._line.place, {"exchange": exchange, "routing_key": routing_key, "message_id": message_id})

    def _headers(self, message: Message) -> dict[str, Any]:
        return {**message.fields, **{name: message.text(line) for name, line in self._settings.headers.items()}}


def build(settings: Config, *, name: str, clock: Clock, random: Random, root: Path = Path()) -> MessageDestination:
    return MessageDestination(name, settings, RabbitPeer(settings, name, root), clock, random)


def _short(text: str, what: str) -> str:
    if len(text.encode()) > LONGEST:
        raise unmapped(f"the {what} for this request is longer than {LONGEST} bytes")
    return text
