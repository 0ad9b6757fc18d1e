"""Messages of a JetStream stream, by a durable pull consumer that all workers share.

A pull request says how many messages may come; they come to a subject of ours. What came while nobody took stays here and is kept ours by
telling JetStream that we are at it, so that a cancelled `take` loses nothing and nothing is handed out twice for being slow.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import orjson
from nats.aio.msg import Msg

from adapters.messaging.aside import why
from adapters.messaging.destination import failure
from adapters.nats.config import ConsumerConfig
from adapters.nats.durable import ensure
from adapters.nats.failures import refused, translated
from adapters.nats.link import STATUS, Connection, Link
from adapters.nats.peer import MESSAGE_ID
from router.errors import DestinationError
from router.ports import Incoming

ACK, NAK, TERM, AT_IT = b"+ACK", b"-NAK", b"+TERM", b"+WPI"
IDLE, ENDED = "100", {"404", "408"}  # a pull request that brought less than it might
EXPIRES_S = 10.0
PATIENCE_S = 5.0
NANO = 1_000_000_000
SHORT = 9  # tokens of a message's reply subject without domain and account


@dataclass(frozen=True, slots=True)
class Token:
    """`reply`: where what becomes of the message is told. `connection`: the one that it came by."""

    sequence: int
    reply: str
    headers: dict[str, str]
    connection: Connection


class NatsConsumer:
    """Implements `router.ports.Consumer`."""

    def __init__(self, name: str, settings: ConsumerConfig, root: Path) -> None:
        self._name = name
        self._settings = settings
        self._link = Link(settings, root)
        self._connection: Connection | None = None
        self._inbox = ""
        self._next = f"{settings.api}.CONSUMER.MSG.NEXT.{settings.stream}.{settings.durable}"
        self._ready: deque[Incoming] = deque()
        self._held: dict[int, Incoming] = {}  # by sequence: what is here and not yet acknowledged, taken or not
        self._left = 0  # what the last pull request may still bring
        self._changed = asyncio.Event()
        self._problem: DestinationError | None = None
        self._keeping: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"NatsConsumer({self._name}, held={len(self._held)}, ready={len(self._ready)})"

    async def open(self) -> None:
        """Raises ConfigError for settings that cannot work."""
        self._link.check()
        connection = await self._link.connection()
        async with _bounded(self._settings.timeout):
            ack_wait = await ensure(connection, self._settings)
            self._inbox = await connection.listen(self._heard)
        self._connection = connection
        connection.then = self._changed.set
        self._keeping = asyncio.create_task(self._keep(ack_wait / 3))

    async def close(self) -> None:
        """What is held goes back at once, in its order; where the server is gone, it hands it out again after `ack_wait`."""
        connection, self._connection = self._connection, None
        self._changed.set()
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            self._keeping = None
        held, self._held = self._held, {}
        self._ready.clear()
        self._left, self._problem = 0, None
        if connection is not None and not connection.lost.is_set():
            with suppress(DestinationError, TimeoutError):
                async with asyncio.timeout(self._settings.timeout):
                    for sequence in sorted(held):
                        await connection.ask(held[sequence].token.reply, NAK)
        await self._link.close()

    async def ping(self) -> None:
        await self._link.ping()

    async def take(self, most: int) -> Sequence[Incoming]:
        while True:
            connection = self._open()
            self._changed.clear()
            if self._ready:
                return [self._ready.popleft() for _ in range(min(most, len(self._ready)))]
            if self._left == 0:
                await self._ask(connection, most)
            try:
                async with asyncio.timeout(EXPIRES_S + PATIENCE_S):
                    await self._changed.wait()
            except TimeoutError:
                self._left = 0  # the server should have said that the request ended

    async def acknowledge(self, messages: Sequence[Incoming]) -> None:
        """Each is confirmed by the server."""
        if len(messages) == 1:
            await self._tell(messages[0], ACK)
        else:
            await asyncio.gather(*(self._tell(message, ACK) for message in messages))

    async def give_back(self, message: Incoming, after_s: float) -> None:
        delay = b" " + orjson.dumps({"delay": int(after_s * NANO)}) if after_s > 0 else b""
        await self._tell(message, NAK + delay)

    async def bury(self, message: Incoming, reason: str) -> None:
        """Kept by a stream there, under an id of its own, before JetStream is told to forget it here."""
        token: Token = message.token
        headers = {**token.headers, **why(self._name, message, reason)}
        headers[MESSAGE_ID] = f"buried-{self._settings.stream}-{self._settings.durable}-{token.sequence}"
        async with _bounded(self._settings.timeout):
            answer = orjson.loads((await token.connection.ask(self._settings.bury, message.content, headers)).data)
        if "error" in answer:
            raise refused(answer["error"])
        await self._tell(message, TERM + b" " + reason.encode())

    async def _tell(self, message: Incoming, what: bytes) -> None:
        """Where the server does not confirm it, it may not have heard of it: nothing keeps the message ours any more then, and JetStream
        hands it out again after `ack_wait`."""
        token: Token = message.token
        try:
            async with _bounded(self._settings.timeout):
                await token.connection.ask(token.reply, what)
        except DestinationError:
            self._held.pop(token.sequence, None)
            raise
        self._held.pop(token.sequence, None)

    async def _ask(self, connection: Connection, most: int) -> None:
        self._left = most
        await connection.send(self._next, orjson.dumps({"batch": most, "expires": int(EXPIRES_S * NANO)}), self._inbox)

    async def _heard(self, message: Msg) -> None:
        headers = message.headers or {}
        if STATUS in headers and not message.reply:
            self._said(headers[STATUS], headers.get("Description", ""))
        elif self._connection is not None:
            self._left = max(0, self._left - 1)
            made = self._incoming(self._connection, message, headers)
            self._held[made.token.sequence] = made
            self._ready.append(made)
        self._changed.set()

    def _said(self, status: str, words: str) -> None:
        """Of the pull request: that it ended, or that there is no more use in asking."""
        if status == IDLE:
            return
        self._left = 0
        if status not in ENDED:
            self._problem = _problem(status, words)

    def _incoming(self, connection: Connection, message: Msg, headers: dict[str, str]) -> Incoming:
        stream, delivered, sequence = _told(message.reply)
        fields = {key.lower(): value for key, value in headers.items()}
        token = Token(sequence, message.reply, headers, connection)
        order, place = self._order(message.subject, fields), f"{stream}/{sequence}"
        return Incoming(message.data, fields.get("content-type", ""), fields, order, delivered, place, token)

    def _order(self, subject: str, fields: dict[str, str]) -> bytes:
        order = self._settings.order
        if order is None:
            return b""
        return (subject if order == "subject" else fields.get(order.partition(":")[2], "")).encode()

    async def _keep(self, every_s: float) -> None:
        """Tells JetStream of everything that is here that we are at it."""
        while True:
            await asyncio.sleep(every_s)
            for message in list(self._held.values()):
                with suppress(DestinationError):
                    await message.token.connection.send(message.token.reply, AT_IT)

    def _open(self) -> Connection:
        if self._connection is None:
            raise failure("destination_closed", f"the consumer {self._name} is not open")
        if self._problem is not None:
            raise self._problem
        if self._connection.lost.is_set():
            raise failure("upstream_reset", "the connection to the NATS server broke")
        return self._connection


def _told(reply: str) -> tuple[str, int, int]:
    """Stream, how often it was delivered, and its sequence: `$JS.ACK.STREAM.DURABLE.…`, or with domain and account before the stream."""
    tokens = reply.split(".")
    at = 2 if len(tokens) == SHORT else 4
    return tokens[at], int(tokens[at + 2]), int(tokens[at + 3])


def _problem(status: str, words: str) -> DestinationError:
    if status == "409" and "deleted" in words.lower():
        return failure("upstream_refused", "the durable consumer was deleted")
    return failure("upstream_unavailable", f"JetStream hands out nothing: {status} {words[:200]}")


@asynccontextmanager
async def _bounded(seconds: float) -> AsyncIterator[None]:
    """Time for the server's answer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise translated(error, sent=True) from error
