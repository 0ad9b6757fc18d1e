"""The `rabbitmq` kind of event source: one queue, each message acknowledged by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.commands import Basic

from adapters.messaging.aside import why
from adapters.messaging.destination import failure
from adapters.messaging.shelf import Shelf
from adapters.rabbitmq.config import ConsumerConfig
from adapters.rabbitmq.failures import GONE, asking
from adapters.rabbitmq.incoming import RETRIED, fields, onward, tries
from adapters.rabbitmq.line import Line
from adapters.rabbitmq.publisher import Parcel, Publisher
from adapters.rabbitmq.retrying import retry_queue
from router.errors import DestinationError
from router.ports import Clock, Incoming, Random

__all__ = ["ConsumerConfig", "RabbitConsumer", "build"]


@dataclass(frozen=True, slots=True)
class _Token:
    """Which message of which channel; `delivered` is what the broker handed out."""

    channel: AbstractChannel
    tag: int
    delivered: DeliveredMessage


class RabbitConsumer:
    """Implements `router.ports.Consumer`. The broker counts as unacknowledged what is taken and what waits here, at most `prefetch`.
    After a failure it must be closed and opened."""

    def __init__(self, settings: ConsumerConfig, name: str, root: Path) -> None:
        self._settings, self._name = settings, name
        self._line = Line(settings, root, f"lockgate {name}")
        # A connection that a broker in need reads no more from must not keep acknowledgements back.
        self._aside = Line(settings, root, f"lockgate {name} aside")
        self._publisher = Publisher(self._aside)
        self._channel: AbstractChannel | None = None
        self._lost: DestinationError | None = None
        self._shelf = Shelf()

    def __repr__(self) -> str:
        return f"RabbitConsumer({self._name}, waiting={len(self._shelf)})"

    async def open(self) -> None:
        """Raises ConfigError for files that cannot be used, DestinationError."""
        self._line.prepare()
        self._aside.prepare()
        channel = await self._line.channel(confirms=False)
        queue = f"queue '{self._settings.queue}'"
        try:
            # A quorum queue whose leader is just being chosen may leave who asks without an answer for good.
            async with asyncio.timeout(self._settings.connect_within):
                await self._consuming(channel)
        except TimeoutError:
            self._channel = None
            raise failure("upstream_timeout", f"{self._line.who} gave no answer about the {queue}") from None
        except GONE as error:
            self._channel = None
            raise asking(error, self._line.who, queue) from error

    async def close(self) -> None:
        """The broker hands out again what was not acknowledged."""
        self._channel = None
        self._shelf.clear()
        await self._publisher.close()
        await self._aside.close()
        await self._line.close()

    async def ping(self) -> None:
        channel = self._check()
        try:
            await channel.queue_declare(self._settings.queue, passive=True)
        except GONE as error:
            raise asking(error, self._line.who, f"queue '{self._settings.queue}'") from error

    async def take(self, most: int) -> Sequence[Incoming]:
        while True:
            self._check()
            found = self._shelf.next(most)
            if found:
                return found
            await self._shelf.wait()

    async def acknowledge(self, messages: Sequence[Incoming]) -> None:
        for message in messages:
            await self._acknowledged(self._token(message))

    async def give_back(self, message: Incoming, after_s: float) -> None:
        token = self._token(message)
        if self._settings.ordered or after_s <= self._settings.hold:
            self._shelf.put(token.tag, replace(message, tries=message.tries + 1), after_s)
            return
        name = await retry_queue(self._aside, self._settings, after_s)
        await self._publisher.publish(Parcel("", name, message.content, onward(token.delivered, {RETRIED: message.tries})))
        await self._acknowledged(token)

    async def bury(self, message: Incoming, reason: str) -> None:
        """A crash in between leaves it in both places."""
        token, place = self._token(message), self._settings.dead_letter
        properties = onward(token.delivered, why(self._name, message, reason))
        await self._publisher.publish(Parcel(place.exchange, place.routing_key, message.content, properties))
        await self._acknowledged(token)

    async def _consuming(self, channel: AbstractChannel) -> None:
        queue = self._settings.queue
        self._lost = None
        self._shelf.clear()
        await self._declared(channel, queue)
        await channel.basic_qos(prefetch_count=self._settings.prefetch)
        channel.closing.add_done_callback(lambda _: self._ended(channel))
        channel.on_consumer_cancel_callbacks.add(lambda _: self._ended(channel))
        self._channel = channel
        await channel.basic_consume(queue, self._arrived)

    async def _declared(self, channel: AbstractChannel, queue: str) -> None:
        wanted = self._settings.declare
        if wanted is None:
            await channel.queue_declare(queue, passive=True)
            return
        arguments: dict[str, Any] = {**wanted.arguments, "x-queue-type": wanted.type}
        if self._settings.ordered:
            arguments["x-single-active-consumer"] = True
        await channel.queue_declare(queue, durable=True, arguments=arguments)

    async def _acknowledged(self, token: _Token) -> None:
        try:
            await token.channel.basic_ack(token.tag)
        except GONE as error:
            raise failure("upstream_reset", f"{self._line.who} closed the connection", sent=True) from error

    async def _arrived(self, delivered: DeliveredMessage) -> None:
        tag = delivered.delivery.delivery_tag if isinstance(delivered.delivery, Basic.Deliver) else None
        channel = self._channel
        if channel is None or delivered.channel is not channel or tag is None:
            return
        message = Incoming(
            delivered.body,
            delivered.header.properties.content_type or "",
            fields(delivered),
            self._settings.queue.encode() if self._settings.ordered else b"",
            tries(delivered),
            f"{self._settings.queue}/{tag}",
            _Token(channel, tag, delivered),
        )
        self._shelf.put(tag, message)

    def _ended(self, channel: AbstractChannel) -> None:
        if self._channel is channel:
            self._lost = failure("upstream_reset", f"{self._line.who} closed the connection, or the queue is gone")
            self._shelf.tell()

    def _token(self, message: Incoming) -> _Token:
        token: _Token = message.token
        if token.channel is not self._check():
            raise failure("upstream_reset", f"the message is {self._line.who}'s again: it was taken over a connection that has ended")
        return token

    def _check(self) -> AbstractChannel:
        if self._channel is None:
            raise failure("destination_closed", f"the consumer {self._name} is not open")
        if self._lost is not None:
            raise failure(self._lost.code, str(self._lost))
        return self._channel


def build(settings: ConsumerConfig, *, name: str, clock: Clock, random: Random, root: Path = Path()) -> RabbitConsumer:
    return RabbitConsumer(settings, name, root)
