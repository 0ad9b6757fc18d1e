"""Messages that are published so that the broker has them when it says so."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from aiormq.abc import AbstractChannel
from pamqp.commands import Basic

from adapters.rabbitmq.failures import GONE, asking, publishing
from adapters.rabbitmq.line import Line

MOST_CHANNELS = 64


@dataclass(frozen=True, slots=True)
class Parcel:
    exchange: str
    routing_key: str
    content: bytes
    properties: Basic.Properties


class _Counted:
    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock, self.users = asyncio.Lock(), 0


class Publisher:
    """A channel for each exchange: what is wrong with one exchange breaks only what is under way to it."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._channels: dict[str, AbstractChannel] = {}
        self._opening: dict[str, asyncio.Lock] = {}
        self._under_way: dict[str, _Counted] = {}
        self._users: dict[AbstractChannel, int] = {}  # of whom each is about to publish, or waits for a confirmation
        self._left = set[AbstractChannel]()
        self._closing = set[asyncio.Task[None]]()

    async def publish(self, parcel: Parcel) -> None:
        """Returns when the broker has confirmed it: it lies in every queue it was routed to, and there is at least one. Raises
        DestinationError."""
        await self._line.ready()
        # A message that comes back unroutable is known by its id alone: of two with the same id under way one would be taken for the other.
        message_id = parcel.properties.message_id
        if not message_id:
            await self._published(parcel)
            return
        lock = self._under_way.setdefault(message_id, _Counted())
        lock.users += 1
        try:
            async with lock.lock:
                await self._published(parcel)
        finally:
            lock.users -= 1
            if not lock.users:
                del self._under_way[message_id]

    async def close(self) -> None:
        self._channels.clear()
        for task in self._closing:
            task.cancel()

    async def _published(self, parcel: Parcel) -> None:
        channel = await self._channel(parcel.exchange)
        self._users[channel] = self._users.get(channel, 0) + 1
        try:
            await channel.basic_publish(
                parcel.content,
                exchange=parcel.exchange,
                routing_key=parcel.routing_key,
                properties=parcel.properties,
                mandatory=True,
            )
        except GONE as error:
            raise publishing(error, self._line.who, parcel.exchange, len(parcel.content)) from error
        except asyncio.CancelledError as error:
            if not channel.is_closed or _cancelled():
                self._leave(parcel.exchange, channel)
                raise
            # The library cancels who waits on a channel that has ended.
            raise publishing(error, self._line.who, parcel.exchange, len(parcel.content)) from error
        finally:
            self._used(channel)

    async def _channel(self, exchange: str) -> AbstractChannel:
        """Asks first whether the exchange is there: publishing to none breaks the channel, for whoever is on it."""
        async with self._opening.setdefault(exchange, asyncio.Lock()):
            standing = self._channels.get(exchange)
            if standing is not None and not standing.is_closed:
                return standing
            await self._make_room()
            channel = await self._line.channel()
            try:
                if exchange:
                    await channel.exchange_declare(exchange, passive=True)
            except GONE as error:
                raise asking(error, self._line.who, f"exchange '{exchange}'") from error
            self._channels[exchange] = channel
            return channel

    def _leave(self, exchange: str, channel: AbstractChannel) -> None:
        """Whoever waits for a confirmation is cancelled when time is up. A broker that lost a queue's leader may confirm nothing more on a
        channel that knew it, and all that follows would wait there as well; so the next message has another one. What others have under way
        on this one may still be confirmed: the last of them closes it."""
        if self._channels.get(exchange) is channel:
            del self._channels[exchange]
            self._left.add(channel)

    def _used(self, channel: AbstractChannel) -> None:
        self._users[channel] -= 1
        if self._users[channel]:
            return
        del self._users[channel]
        if channel in self._left:
            self._left.discard(channel)
            task = asyncio.create_task(_closed(channel))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _make_room(self) -> None:
        for exchange in [each for each, channel in self._channels.items() if channel.is_closed]:
            del self._channels[exchange]
        while len(self._channels) >= MOST_CHANNELS:
            idle = next((each for each, channel in self._channels.items() if channel not in self._users), None)
            if idle is None:
                return
            self._opening.pop(idle, None)
            await _closed(self._channels.pop(idle))


async def _closed(channel: AbstractChannel) -> None:
    with suppress(*GONE):
        await channel.close()


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
