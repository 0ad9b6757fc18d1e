"""Takes a broker's messages, as many at once as may be under way, and acknowledges each when it is decided on record.

A message that cannot be an event is put aside; so is one that failed in a way that nobody foresaw, after its attempts. While the ledger, or
what nodes share, does not answer, messages are given back and nothing is counted against them: nothing is lost, and nothing is taken.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence

from router.doors.events.event import Event, event_key
from router.doors.events.plan import SourcePlan
from router.doors.events.reading import read_message
from router.doors.events.taking import Taking
from router.errors import AuditError, DestinationError, LockgateError, RefusedError, StateError
from router.ports import Consumer, Incoming

log = logging.getLogger("lockgate.events")
RETRY_S, LONGEST_RETRY_S = 1.0, 30.0
MOST_FAILED = 10_000  # messages that are known to have failed
LATER = (429, 503)  # enough was counted for now, or what counts does not answer: nothing is wrong with the message

Room = Callable[[], Awaitable[None]]
Buried = Callable[[SourcePlan, Incoming, str], Awaitable[None]]
"""Puts on record that a message is put aside. Raises AuditError."""
Count = Callable[[str], None]
"""What became of a message."""


class Consuming:
    """`room` returns when another event may be taken."""

    def __init__(self, consumer: Consumer, plan: SourcePlan, taking: Taking, room: Room, buried: Buried, count: Count) -> None:
        self._consumer = consumer
        self._plan = plan
        self._taking = taking
        self._room = room
        self._buried = buried
        self._count = count
        self._last: dict[bytes, asyncio.Task[bool]] = {}
        self._tasks = set[asyncio.Task[bool]]()
        self._failures: dict[bytes, int] = {}  # by `_name`; a broker counts how often it handed a message out, whatever for
        self.deciding = 0
        self._paused_until = 0.0

    async def run(self) -> None:
        """Until it is cancelled. A broker that does not answer is asked again, less and less often."""
        wait = RETRY_S
        while True:
            try:
                await self._consumer.open()
                wait = RETRY_S
                await self._take_on()
            except DestinationError as error:
                log.warning("events of '%s' cannot be taken: %s", self._plan.name, error)
            except Exception:
                log.exception("events of '%s' cannot be taken, in a way that nobody foresaw", self._plan.name)
            await self._drained()
            await self._closed()
            await asyncio.sleep(wait)
            wait = min(LONGEST_RETRY_S, wait * 2)

    @property
    def under_way(self) -> int:
        """Messages that were taken and are not done with."""
        return len(self._tasks)

    async def finish(self, running: asyncio.Task[None]) -> None:
        """Of a `run` that was cancelled: what was taken is decided and acknowledged, however long it takes; what was not is given back."""
        await asyncio.wait([running])
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._closed()

    async def close(self, grace_s: float) -> None:
        """What is under way may end; what does not is given back."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        for task in self._tasks:
            task.cancel()
        await self._drained()
        await self._closed()

    async def _take_on(self) -> None:
        while True:
            await self._room()
            await self._pause()
            while len(self._tasks) >= self._plan.settings.concurrency:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            for message in await self._consumer.take(self._plan.settings.concurrency - len(self._tasks)):
                self._begin(message)

    def _begin(self, message: Incoming) -> None:
        order = message.order if self._plan.settings.ordered else b""
        task = asyncio.create_task(self._handle(message, self._last.get(order) if order else None))
        self._tasks.add(task)
        if order:
            self._last[order] = task
        task.add_done_callback(lambda done: self._ended(done, order))

    def _ended(self, task: asyncio.Task[bool], order: bytes) -> None:
        self._tasks.discard(task)
        if order and self._last.get(order) is task:
            del self._last[order]

    async def _handle(self, message: Incoming, after: asyncio.Task[bool] | None) -> bool:
        """Whether it is done with: what must not overtake it waits for that, and is given back with it."""
        if after is not None:
            await asyncio.wait([after])
        try:
            if after is not None and (after.cancelled() or not after.result()):
                await self._consumer.give_back(message, self._plan.settings.pause)
                return False
            return await self._decided(message)
        except DestinationError as error:  # the broker did not hear of it: it hands it out again
            log.warning("a message of '%s' (%s) is not acknowledged: %s", self._plan.name, message.place, error)
            return False

    async def _decided(self, message: Incoming) -> bool:
        if message.problem:
            return await self._aside(message, message.problem)
        events: Sequence[Event] = ()
        try:
            events = read_message(message, self._plan.names, self._plan.path)
            for event in events:
                self._plan.check(event)
            for event in events:
                subject = self._plan.speaker(event)
                if subject is None:
                    raise RefusedError("The source does not say for whom its events speak.", "event_invalid", 422)
                self.deciding += 1
                try:
                    taken = await self._taking.take(event, self._plan, subject, message.order)
                finally:
                    self.deciding -= 1
                self._count("duplicate" if taken.again else taken.answer.outcome)
        except (AuditError, StateError) as error:
            self._paused_until = asyncio.get_running_loop().time() + self._plan.settings.pause
            return await self._back(message, error)
        except RefusedError as error:
            return await (self._back(message, error) if error.status in LATER else self._aside(message, error.code, events))
        except LockgateError as error:
            return await self._tried(message, error.code, events)
        except Exception:
            log.exception("a message of '%s' (%s) failed in a way that nobody foresaw", self._plan.name, message.place)
            return await self._tried(message, reason="event_failed", events=events)
        await self._consumer.acknowledge([message])
        self._forget(message, events)
        return True

    async def _tried(self, message: Incoming, reason: str, events: Sequence[Event]) -> bool:
        if self._failed(message, events) >= self._plan.settings.attempts:
            return await self._aside(message, reason, events)
        self._count("given_back")
        await self._consumer.give_back(message, self._plan.settings.pause)
        return False

    def _failed(self, message: Incoming, events: Sequence[Event]) -> int:
        """How often it has, as far as this worker knows."""
        name = _name(message, events)
        self._failures[name] = count = self._failures.pop(name, 0) + 1
        if len(self._failures) > MOST_FAILED:
            del self._failures[next(iter(self._failures))]
        return count

    def _forget(self, message: Incoming, events: Sequence[Event]) -> None:
        if self._failures:
            self._failures.pop(_name(message, events), None)

    async def _back(self, message: Incoming, error: LockgateError) -> bool:
        log.warning("a message of '%s' (%s) waits: %s", self._plan.name, message.place, error)
        self._count("given_back")
        await self._consumer.give_back(message, getattr(error, "retry_after", None) or self._plan.settings.pause)
        return False

    async def _aside(self, message: Incoming, reason: str, events: Sequence[Event] = ()) -> bool:
        """On record first: what is put aside twice is on record twice, and what is put aside without a record never."""
        try:
            await self._buried(self._plan, message, reason)
        except AuditError as error:
            return await self._back(message, error)
        self._count("buried")
        await self._consumer.bury(message, reason)
        self._forget(message, events)
        return True

    async def _pause(self) -> None:
        wait = self._paused_until - asyncio.get_running_loop().time()
        if wait > 0:
            await asyncio.sleep(wait)

    async def _drained(self) -> None:
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _closed(self) -> None:
        try:
            await self._consumer.close()
        except Exception:
            log.exception("the consumer of '%s' was not closed cleanly", self._plan.name)


def _name(message: Incoming, events: Sequence[Event]) -> bytes:
    """The same when it comes again, wherever the broker has it then. What two events say may be the same, such as nothing."""
    digest = hashlib.sha256(message.content)
    for event in events:
        digest.update(event_key(None, event.named))
    return digest.digest()
