"""A producer of Kafka's on a thread of its own, and what it hears on the event loop.

It is idempotent: what the library sends again by itself is written once. What is given to it twice is written twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException, Producer

from adapters.kafka.config import Reached
from adapters.kafka.failures import CODES, LASTING, translated
from adapters.messaging.destination import failure
from router.errors import ConfigError, DestinationError

POLL_S = 0.2
MOST_FAILURES = 3
OVERHEAD = 64 * 1024  # of header fields and framing, over the longest body


class Sender:
    """`within_s`: after which the library gives a message up. `most`: the longest content."""

    def __init__(self, settings: Reached, root: Path, within_s: float, most: int, compression: str = "none") -> None:
        self._settings = settings
        self._root = root
        self._more = {
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 0,
            "message.timeout.ms": max(1000, int(within_s * 1000)),
            "message.max.bytes": most + OVERHEAD,
            "partitioner": "murmur2_random",  # as Kafka's own clients, so that a key leads to the same partition
            "topic.metadata.propagation.max.ms": 1000,  # then a topic that no broker knows is not there
            "compression.type": compression,
            "allow.auto.create.topics": False,
        }
        self._producing: _Producing | None = None
        self._proving: asyncio.Task[None] | None = None

    def check(self) -> None:
        """Raises ConfigError."""
        _made(Producer, self._settings.options(self._root) | self._more).flush(0)

    async def send(self, topic: str, key: bytes | None, content: bytes, headers: Mapping[str, str]) -> tuple[int, int]:
        """Partition and offset, once all in-sync replicas have it. Raises DestinationError."""
        producing = self._current()
        if not producing.proven:
            await self._prove(producing)
        try:
            return await producing.send(topic, key, content, headers)
        except (DestinationError, asyncio.CancelledError):
            if producing.useless:
                self._let_go(producing)
            raise

    async def ping(self) -> None:
        """Raises DestinationError."""
        await self._prove(self._current())

    async def close(self) -> None:
        producing, self._producing = self._producing, None
        if self._proving is not None:
            await asyncio.gather(self._proving, return_exceptions=True)
        if producing is not None:
            await asyncio.to_thread(producing.close)

    def _current(self) -> _Producing:
        if self._producing is None or self._producing.useless:
            try:
                self._producing = _Producing(self._settings.options(self._root) | self._more)
            except ConfigError as error:
                raise failure("upstream_denied", f"Kafka cannot be reached as it is configured: {error}") from error
        return self._producing

    def _let_go(self, producing: _Producing) -> None:
        """One that can send nothing any more: the next sending makes another."""
        if self._producing is producing:
            self._producing = None
        threading.Thread(target=producing.close, daemon=True).start()

    async def _prove(self, producing: _Producing) -> None:
        """That a broker answers, asked once for all who want to know."""
        if self._proving is None or self._proving.done():
            self._proving = asyncio.create_task(producing.prove(self._settings.connect))
        await asyncio.shield(self._proving)


class _Producing:
    """`proven`: a broker answered, and nothing is known since that says otherwise."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.proven = False
        self.fatal = False
        self.failures = 0  # in a row, without an answer
        self._problem: Any = None
        self._loop = asyncio.get_running_loop()
        self._told: deque[tuple[asyncio.Future[tuple[int, int]], Any, Any]] = deque()
        self._ended = threading.Event()
        self._producer = _made(Producer, {**options, "error_cb": self._failed})
        self._thread = threading.Thread(target=self._poll, name="kafka-producer", daemon=True)
        self._thread.start()

    async def send(self, topic: str, key: bytes | None, content: bytes, headers: Mapping[str, str]) -> tuple[int, int]:
        answer = self._loop.create_future()
        try:
            self._producer.produce(
                topic,
                content,
                key,
                headers=[(name, value.encode()) for name, value in headers.items()],
                on_delivery=lambda error, message: self._delivered(answer, error, message),
            )
        except BufferError:
            raise failure("concurrency_exceeded", "too many messages wait for the Kafka brokers") from None
        except KafkaException as error:
            raise self._seen(error.args[0], sent=False) from error
        try:
            place: tuple[int, int] = await answer
        except asyncio.CancelledError:
            self.failures += 1
            raise
        self.failures = 0
        return place

    @property
    def useless(self) -> bool:
        """The library gave up, or brokers that forgot this producer do not answer it: another one is made for the next message."""
        return self.fatal or self.failures >= MOST_FAILURES

    async def prove(self, within_s: float) -> None:
        try:
            await asyncio.to_thread(self._producer.list_topics, timeout=within_s)
        except KafkaException as error:
            problem = self._problem if self._problem is not None else error.args[0]
            raise _away(translated(problem, sent=False)) from error
        self.proven, self._problem = True, None

    def close(self) -> None:
        """Blocks. What nobody waits for any more is not waited for."""
        self._ended.set()
        self._thread.join(POLL_S * 5)
        with contextlib.suppress(KafkaException):  # raised once more by a producer that ended in a fatal error
            self._producer.purge()
            self._producer.flush(POLL_S)

    def _poll(self) -> None:
        while not self._ended.is_set():
            try:
                self._producer.poll(POLL_S)
            except KafkaException as error:  # the library raises what is fatal; what waits still hears of it by polling on
                self._failed(error.args[0])
                self._ended.wait(POLL_S)

    def _delivered(self, answer: asyncio.Future[tuple[int, int]], error: Any, message: Any) -> None:
        """On the thread. One call of the loop tells all that came together."""
        first = not self._told
        self._told.append((answer, error, None if error is not None else (message.partition(), message.offset())))
        if first and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        while self._told:
            answer, error, place = self._told.popleft()
            failed = self._seen(error, sent=True) if error is not None else None
            if answer.done():
                continue
            if failed is not None:
                answer.set_exception(failed)
            else:
                answer.set_result(place)

    def _seen(self, error: Any, *, sent: bool) -> DestinationError:
        self.fatal = self.fatal or error.fatal() or error.code() in FATAL
        if CODES.get(error.code()) in UNPROVEN:
            self.proven = False
            self.failures += 1
        return translated(error, sent=sent)

    def _failed(self, error: Any) -> None:
        """On the thread: what the library says of its connections."""
        if error.fatal() or error.code() in FATAL:
            self.fatal = True
        if CODES.get(error.code()) in LASTING:
            self.proven = False
            if self._problem is None or CODES[error.code()] != "connect_failed":
                self._problem = error


UNPROVEN = LASTING | {"upstream_timeout", "upstream_reset"}
FATAL = frozenset(code for code, ours in CODES.items() if ours == "upstream_unavailable" and code in (-150, -144))


def _made(kind: Any, options: Mapping[str, Any]) -> Any:
    """Raises ConfigError."""
    try:
        return kind(dict(options))
    except KafkaException as error:
        said = error.args[0].str() if error.args else ""
        raise ConfigError(f"the Kafka settings cannot be used: {said.partition(': error')[0]}") from None


def _away(error: DestinationError) -> DestinationError:
    """A broker that does not answer before anything was sent could not be reached."""
    if error.code in ("upstream_timeout", "upstream_reset", "upstream_protocol"):
        return failure("connect_failed", "no Kafka broker answered")
    return error
