"""Messages of Kafka topics, as a member of a consumer group.

A thread of its own asks the brokers; it goes on when nobody takes, so that the group keeps us. What is given back waits here: Kafka has no
way to hand one message out again, and going back would hand out again what follows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adapters.kafka.config import ConsumerConfig
from adapters.kafka.failures import translated
from adapters.kafka.member import Member
from adapters.kafka.places import Partition, Place, Places
from adapters.kafka.sender import Sender
from adapters.messaging.aside import why
from adapters.messaging.destination import failure
from adapters.messaging.queueing import Queue, Waiting
from router.errors import DestinationError
from router.ports import Incoming
from router.quick import quickly_made

MOST = 64 << 20  # a message that could be consumed can be put aside, where the brokers take it
CLOSING_S = 10.0


@quickly_made
@dataclass(frozen=True, slots=True)
class Token:
    """`number`: its place among all that came here. `place`: its partition's, for as long as that is ours."""

    number: int
    partition: Partition
    offset: int
    place: Place
    key: bytes | None
    headers: dict[str, str]


class KafkaConsumer:
    """Implements `router.ports.Consumer`."""

    def __init__(self, name: str, settings: ConsumerConfig, root: Path) -> None:
        self._name = name
        self._settings = settings
        self._root = root
        self._sender = Sender(settings, root, settings.timeout, MOST)
        self._places = Places()
        self._queue = Queue()
        self._number = 0
        self._here = 0
        self._member: Member | None = None
        self._problem: DestinationError | None = None
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"KafkaConsumer({self._name}, here={self._here}, waiting={len(self._queue)})"

    async def open(self) -> None:
        """Raises ConfigError for settings that cannot work, DestinationError also where a topic is not there."""
        member = Member(self._settings, self._root, self._places, self._came, self._lost, self._failed)
        try:
            await member.start()
        except BaseException:
            with suppress(TimeoutError):
                await asyncio.wait_for(member.close(), CLOSING_S)
            raise
        self._member = member

    async def close(self) -> None:
        member, self._member = self._member, None
        self._changed.set()
        if member is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(member.close(), CLOSING_S)
        await self._sender.close()
        self._queue, self._places = Queue(), Places()
        self._here, self._problem = 0, None

    async def ping(self) -> None:
        self._opened()
        await self._sender.ping()

    async def take(self, most: int) -> Sequence[Incoming]:
        loop = asyncio.get_running_loop()
        while True:
            self._opened()
            self._changed.clear()
            now = loop.time()
            if found := self._queue.next(most, now):
                return [each.message for each in found]
            with suppress(TimeoutError):
                async with asyncio.timeout(self._queue.due(now)):
                    await self._changed.wait()

    async def acknowledge(self, messages: Sequence[Incoming]) -> None:
        """The group's place is told to the broker within `commit_every`, and when this is closed."""
        self._opened()
        for message in messages:
            self._done(message)

    async def give_back(self, message: Incoming, after_s: float) -> None:
        self._opened()
        token: Token = message.token
        if self._places.ours(token.partition, token.place):
            not_before = asyncio.get_running_loop().time() + after_s
            self._queue.put(Waiting(token.number, replace(message, tries=message.tries + 1), not_before))
            self._changed.set()
        else:
            self._gone(1)  # with its partition: somebody else has it

    async def bury(self, message: Incoming, reason: str) -> None:
        self._opened()
        token: Token = message.token
        headers = {**token.headers, **why(self._name, message, reason)}
        await self._sender.send(self._settings.bury, token.key, message.content, headers)
        self._done(message)

    def _done(self, message: Incoming) -> None:
        token: Token = message.token
        self._places.done(token.partition, token.place, token.offset)
        self._gone(1)

    def _gone(self, number: int) -> None:
        self._here -= number
        self._throttle()

    def _throttle(self) -> None:
        """No more is fetched than may be here; what was fetched already still comes."""
        if self._member is not None:
            if self._here >= self._settings.in_flight:
                self._member.pause(True)
            elif self._here * 2 <= self._settings.in_flight:
                self._member.pause(False)

    def _came(self, messages: Sequence[tuple[Any, Place]]) -> None:
        for message, place in messages:
            self._number += 1
            self._queue.put(Waiting(self._number, self._incoming(message, place)))
        self._here += len(messages)
        self._throttle()
        self._changed.set()

    def _lost(self) -> None:
        """Partitions are somebody else's now: so is what is here of them."""
        before = len(self._queue)
        self._queue.drop(lambda each: not self._places.ours(each.message.token.partition, each.message.token.place))
        self._gone(before - len(self._queue))

    def _failed(self, error: Any) -> None:
        self._problem = translated(error, sent=False)
        self._changed.set()

    def _incoming(self, message: Any, place: Place) -> Incoming:
        headers = {name: (value or b"").decode("utf-8", "replace") for name, value in message.headers() or ()}
        fields = {name.lower(): value for name, value in headers.items()}
        partition = (message.topic(), message.partition())
        token = Token(self._number, partition, message.offset(), place, message.key(), headers)
        named = f"{partition[0]}/{partition[1]}/{message.offset()}"
        return Incoming(message.value() or b"", fields.get("content-type", ""), fields, self._order(partition, token.key), 1, named, token)

    def _order(self, partition: Partition, key: bytes | None) -> bytes:
        if self._settings.order == "partition":
            return f"{partition[0]}/{partition[1]}".encode()
        return b"" if key is None else f"{partition[0]}/".encode() + key

    def _opened(self) -> Member:
        if self._member is None:
            raise failure("destination_closed", f"the consumer {self._name} is not open")
        if self._problem is not None:
            raise self._problem
        return self._member
