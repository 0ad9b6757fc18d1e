"""A member of a consumer group on a thread of its own: everything that is asked of the library's consumer is asked there."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from adapters.kafka.config import ConsumerConfig
from adapters.kafka.failures import CODES, LASTING, translated
from adapters.kafka.places import Partition, Place, Places
from adapters.kafka.sender import _away, _made
from adapters.messaging.destination import failure

log = logging.getLogger("lockgate.kafka")
POLL_S = 0.1
AT_ONCE = 500
NOT_OURS = frozenset({KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.REBALANCE_IN_PROGRESS, KafkaError._NO_OFFSET})
"""A commit that came too late: somebody else has the partition, and is handed out what we had."""
Came = Callable[[Sequence[tuple[Any, Place]]], None]


class Member:
    """`came`, `lost` and `failed` are called on the event loop."""

    def __init__(
        self, settings: ConsumerConfig, root: Path, places: Places, came: Came, lost: Callable[[], None], failed: Callable[[Any], None]
    ) -> None:
        self._settings = settings
        self._places = places
        self._came, self._lost, self._failed = came, lost, failed
        self._loop = asyncio.get_running_loop()
        self._problem: Any = None
        self._ended = threading.Event()
        self._pause = False
        self._paused = False
        self._closed = asyncio.Event()
        self._thread: threading.Thread | None = None
        self._consumer = _made(
            Consumer,
            {
                **settings.options(root),
                "group.id": settings.group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": settings.start,
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": int(settings.session * 1000),
                "heartbeat.interval.ms": max(100, int(settings.session * 1000 / 15)),
                "allow.auto.create.topics": False,
                "fetch.wait.max.ms": 500,
                "queued.max.messages.kbytes": 16384,
                "error_cb": self._said,
                "on_commit": self._committed,
            },
        )

    async def start(self) -> None:
        """Raises DestinationError."""
        await self._check()
        self._consumer.subscribe(
            list(self._settings.topics),
            on_assign=lambda _, given: self._assigned(),
            on_revoke=lambda _, taken: self._revoked(taken, commit=True),
            on_lost=lambda _, taken: self._revoked(taken, commit=False),
        )
        self._thread = threading.Thread(target=self._run, name="kafka-consumer", daemon=True)
        self._thread.start()

    async def _check(self) -> None:
        """That brokers answer, and have the topics. Only before the thread runs: the library hangs when it is asked from two at once."""
        try:
            told = await asyncio.to_thread(self._consumer.list_topics, timeout=self._settings.connect)
        except KafkaException as error:
            problem = self._problem if self._problem is not None else error.args[0]
            raise _away(translated(problem, sent=False)) from error
        missing = [each for each in (*self._settings.topics, self._settings.bury) if each not in told.topics]
        if missing:
            raise failure("upstream_refused", f"Kafka has no topic {', '.join(missing)}")

    def pause(self, wanted: bool) -> None:
        self._pause = wanted

    async def close(self) -> None:
        """Whoever waits may give up: the thread holds up nothing, and ends when the broker answers or its time is up."""
        self._ended.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._end, name="kafka-consumer", daemon=True)
            self._thread.start()
        await self._closed.wait()

    def _run(self) -> None:
        committed = time.monotonic()
        try:
            while not self._ended.is_set():
                self._throttle()
                found = self._consumer.consume(AT_ONCE, POLL_S if not self._due(committed) else 0.0)
                if found:
                    self._took(found)
                if self._due(committed):
                    self._commit(asynchronous=True)
                    committed = time.monotonic()
            self._commit(asynchronous=False)
        except KafkaException as error:
            self._tell(self._failed, error.args[0])
        finally:
            self._end()

    def _end(self) -> None:
        self._consumer.close()
        self._tell(lambda _: self._closed.set(), None)

    def _due(self, committed: float) -> bool:
        return time.monotonic() - committed >= self._settings.commit_every

    def _took(self, found: Sequence[Any]) -> None:
        good = list[tuple[Any, Place]]()
        for message in found:
            if message.error() is not None:
                self._tell(self._failed, message.error())
            else:
                good.append((message, self._places.came((message.topic(), message.partition()), message.offset())))
        if good:
            self._tell(self._came, good)

    def _throttle(self) -> None:
        wanted = self._pause
        if wanted != self._paused:
            self._paused = wanted
            (self._consumer.pause if wanted else self._consumer.resume)(self._consumer.assignment())

    def _commit(self, *, asynchronous: bool, of: Sequence[Partition] | None = None) -> None:
        moved = self._places.moved(of)
        if not moved:
            return
        offsets = [TopicPartition(topic, number, offset) for (topic, number), offset in moved.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=asynchronous)
        except KafkaException as error:
            if error.args[0].code() not in NOT_OURS:
                self._places.again(moved)
                if asynchronous:
                    self._tell(self._failed, error.args[0])

    def _committed(self, error: Any, offsets: Sequence[Any]) -> None:
        if error is not None and error.code() not in NOT_OURS:
            self._places.again([(each.topic, each.partition) for each in offsets])

    def _assigned(self) -> None:
        self._paused = False  # of those that are new nothing is paused

    def _revoked(self, taken: Sequence[Any], *, commit: bool) -> None:
        partitions = [(each.topic, each.partition) for each in taken]
        if commit:
            self._commit(asynchronous=False, of=partitions)
        self._places.forget(partitions)
        self._tell(lambda _: self._lost(), None)

    def _said(self, error: Any) -> None:
        """On the thread. Brokers that are away come back by themselves, and the group knows us still; what lasts ends this member."""
        code = CODES.get(error.code())
        if not error.fatal() and code not in LASTING:
            return
        if self._problem is None or code != "connect_failed":
            self._problem = error
        if self._thread is not None and (error.fatal() or code != "connect_failed"):
            self._tell(self._failed, error)
        elif self._thread is not None:
            log.warning("events of '%s': no Kafka broker can be reached", self._settings.group)

    def _tell(self, what: Callable[[Any], None], value: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(what, value)
