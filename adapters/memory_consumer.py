"""The in-memory twin of consumers: a queue that keeps what is not acknowledged, hands out again, and has a place for what is put aside."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count

from adapters.messaging.aside import why
from adapters.messaging.destination import failure
from adapters.messaging.queueing import Queue, Waiting
from router.ports import Incoming
from router.settings import Strict

__all__ = ["Config", "MemoryConsumer", "MemoryQueue"]


class Config(Strict):
    """Settings of a `memory` consumer: none."""


class MemoryQueue:
    """What a broker would keep. Consumers of one queue share it. While it is `away` nobody can reach it, and nothing is lost."""

    def __init__(self) -> None:
        self.buried: list[tuple[bytes, Mapping[str, str]]] = []
        self.away = False
        self._numbers = count(1)
        self._waiting = Queue()
        self._changed = asyncio.Event()

    def put(self, content: bytes, fields: Mapping[str, str] | None = None, order: bytes = b"") -> None:
        number = next(self._numbers)
        named = {name.lower(): value for name, value in (fields or {}).items()}
        message = Incoming(content, named.get("content-type", ""), named, order, 1, f"memory/{number}", number)
        self.restore(Waiting(number, message))

    def restore(self, waiting: Waiting) -> None:
        self._waiting.put(waiting)
        self.tell()

    def tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def next(self, most: int, now: float) -> list[Waiting]:
        return self._waiting.next(most, now)

    async def wait(self, now: float) -> None:
        """Until something is put or given back, or a wait of what is here ends."""
        changed = self._changed
        try:
            async with asyncio.timeout(self._waiting.due(now)):
                await changed.wait()
        except TimeoutError:
            return


class MemoryConsumer:
    """Implements `router.ports.Consumer`."""

    def __init__(self, name: str, queue: MemoryQueue) -> None:
        self._name = name
        self._queue = queue
        self._taken: dict[int, Incoming] = {}
        self._open = False

    def __repr__(self) -> str:
        return f"MemoryConsumer({self._name}, taken={len(self._taken)})"

    async def open(self) -> None:
        self._reach()
        self._open = True

    async def close(self) -> None:
        self._open = False
        taken, self._taken = self._taken, {}
        for number, message in taken.items():
            self._queue.restore(Waiting(number, replace(message, tries=message.tries + 1)))
        self._queue.tell()

    async def ping(self) -> None:
        self._check()

    async def take(self, most: int) -> Sequence[Incoming]:
        while True:
            self._check()
            now = asyncio.get_running_loop().time()
            found = self._queue.next(most, now)
            if found:
                self._taken.update((each.number, each.message) for each in found)
                return [each.message for each in found]
            await self._queue.wait(now)

    async def acknowledge(self, messages: Sequence[Incoming]) -> None:
        self._check()
        for message in messages:
            self._taken.pop(message.token, None)

    async def give_back(self, message: Incoming, after_s: float) -> None:
        self._check()
        if self._taken.pop(message.token, None) is not None:
            not_before = asyncio.get_running_loop().time() + after_s
            self._queue.restore(Waiting(message.token, replace(message, tries=message.tries + 1), not_before))

    async def bury(self, message: Incoming, reason: str) -> None:
        self._check()
        if message.token in self._taken:
            self._queue.buried.append((message.content, {**message.fields, **why(self._name, message, reason)}))
            del self._taken[message.token]

    def _check(self) -> None:
        if not self._open:
            raise failure("destination_closed", f"the consumer {self._name} is not open")
        self._reach()

    def _reach(self) -> None:
        if self._queue.away:
            raise failure("connect_failed", "the queue is away")
