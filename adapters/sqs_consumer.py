"""The `sqs` kind of event source: one queue, each message deleted by itself."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from adapters.aws.config import SqsSource
from adapters.aws.envelopes import is_event, parsed, unwrapped
from adapters.aws.notices import Notices
from adapters.aws.notifications import handed_on
from adapters.aws.service import Service
from adapters.aws.texts import MOST_ATTRIBUTES, content, typed
from adapters.messaging.aside import why
from adapters.messaging.destination import failure
from adapters.messaging.shelf import Shelf
from router.errors import DestinationError, RefusedError
from router.ports import Clock, Incoming, Random

__all__ = ["SqsConsumer", "SqsSource", "build"]

BATCH = 10
LONGEST_S = 43_200
AGAIN_S = 2
log = logging.getLogger("lockgate.events")
FIFO = ".fifo"


@dataclass(frozen=True, slots=True)
class _Token:
    """`number`: its place among what we were given; `raw`: the message as the service gave it."""

    number: int
    handle: str
    raw: Mapping[str, Any]


class SqsConsumer:
    """Implements `router.ports.Consumer`. Messages that are here are ours for as long as they are, by saying so again and again. A question
    for messages outlives who asked it: what it brings is kept for the next."""

    def __init__(self, settings: SqsSource, name: str, clock: Clock, root: Path) -> None:
        self._settings, self._name = settings, name
        self._service = Service(settings, "sqs", "SQS", clock, root)
        self._fifo = settings.queue.endswith(FIFO)
        self._numbers = count(1)
        self._root = root
        self._notices: Notices | None = None
        self._shelf = Shelf()
        self._ours: dict[int, _Token] = {}
        self._asking: asyncio.Task[None] | None = None
        self._extending: asyncio.Task[None] | None = None
        self._lost: DestinationError | None = None
        self._open = False

    def __repr__(self) -> str:
        return f"SqsConsumer({self._name}, ours={len(self._ours)})"

    async def open(self) -> None:
        """Raises ConfigError for keys and files that cannot be read, DestinationError."""
        self._service.prepare()
        made = self._settings
        if made.unsigned:
            log.warning("the source '%s' takes envelopes of SNS that nobody verifies", self._name)
        elif made.topics:
            self._notices = Notices(made.topics, made.oldest, self._root, made.certificates, made.ca)
        self._lost = None
        self._open = True
        try:
            await self.ping()
        except DestinationError:
            self._open = False
            raise
        self._extending = asyncio.create_task(self._extend())

    async def close(self) -> None:
        """What is here is given back at once."""
        was_open, self._open = self._open, False
        tasks = [task for task in (self._asking, self._extending) if task is not None]
        self._asking = self._extending = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._shelf.clear()
        ours, self._ours = list(self._ours.values()), {}
        if was_open and ours:
            with suppress(DestinationError, TimeoutError):
                await self._visible_after(ours, 0)
        await self._service.close()

    async def ping(self) -> None:
        self._check()
        await self._asked("GetQueueAttributes", {"AttributeNames": ["VisibilityTimeout"]})

    async def take(self, most: int) -> Sequence[Incoming]:
        while True:
            self._check()
            found = self._shelf.next(most)
            if found:
                return found
            if self._asking is None and len(self._shelf) < self._settings.prefetch:
                self._asking = asyncio.create_task(self._ask(min(BATCH, most)))
            await self._shelf.wait()

    async def acknowledge(self, messages: Sequence[Incoming]) -> None:
        self._check()
        tokens = [self._token(message) for message in messages]
        for begin in range(0, len(tokens), BATCH):
            await self._deleted(tokens[begin : begin + BATCH])

    async def give_back(self, message: Incoming, after_s: float) -> None:
        """In a group it waits here, for what follows it may be here too; elsewhere at the service, where another may get it."""
        self._check()
        token = self._token(message)
        if message.order:
            self._shelf.put(token.number, replace(message, tries=message.tries + 1), after_s)
            return
        await self._visible_after([token], math.ceil(min(after_s, LONGEST_S)))
        self._ours.pop(token.number, None)

    async def bury(self, message: Incoming, reason: str) -> None:
        """A crash in between leaves it in both places."""
        self._check()
        token, queue = self._token(message), self._settings.dead_letter.queue
        told = {name: typed({name: text})[name] for name, text in why(self._name, message, reason).items()}
        for name, value in (token.raw.get("MessageAttributes") or {}).items():
            if len(told) < MOST_ATTRIBUTES:
                told.setdefault(name, {key: each for key, each in value.items() if key in ("DataType", "StringValue", "BinaryValue")})
        wanted = {"QueueUrl": queue, "MessageBody": token.raw["Body"], "MessageAttributes": told}
        if queue.endswith(FIFO):
            group = (token.raw.get("Attributes") or {}).get("MessageGroupId", "")
            wanted |= {"MessageGroupId": group or "lockgate", "MessageDeduplicationId": str(token.raw["MessageId"])}
        await self._within(self._service.json("AmazonSQS.SendMessage", wanted))
        await self._deleted([token])

    async def _ask(self, most: int) -> None:
        wait = max(1, int(self._settings.wait))
        wanted = {
            "MaxNumberOfMessages": most,
            "WaitTimeSeconds": wait,
            "VisibilityTimeout": int(self._settings.visibility),
            "MessageAttributeNames": ["All"],
            "AttributeNames": ["All"],
        }
        try:
            answer = await self._asked("ReceiveMessage", wanted, wait)
            for raw in answer.get("Messages") or []:
                await self._arrived(raw)
        except DestinationError as error:
            self._lost = error
        finally:
            self._asking = None
            self._shelf.tell()

    async def _arrived(self, raw: Mapping[str, Any]) -> None:
        token = _Token(next(self._numbers), str(raw["ReceiptHandle"]), raw)
        system = raw.get("Attributes") or {}
        self._ours[token.number] = token
        attributes = {
            name.lower(): str(each["StringValue"]) for name, each in (raw.get("MessageAttributes") or {}).items() if "StringValue" in each
        }
        problem, body = "", content(str(raw["Body"]), attributes)
        try:
            body, fields = await self._opened(body, attributes, int(system.get("SentTimestamp", 0)) / 1000)
        except RefusedError as error:
            if error.status == 503:  # it comes again when it is nobody's any more
                log.warning("a message of '%s' waits: %s", self._name, error)
                await self._visible_after([token], AGAIN_S)
                self._ours.pop(token.number, None)
                return
            problem, fields = error.code, attributes
        message = Incoming(
            body,
            fields.get("content-type", ""),
            {"message-id": str(raw["MessageId"]), **fields},
            str(system.get("MessageGroupId", "")).encode() if self._fifo else b"",
            max(1, int(system.get("ApproximateReceiveCount", 1))),
            f"{self._settings.queue.rpartition('/')[2]}/{raw['MessageId']}",
            token,
            problem,
        )
        self._shelf.put(token.number, message)

    async def _opened(self, body: bytes, attributes: Mapping[str, str], at_s: float) -> tuple[bytes, dict[str, str]]:
        """Raises RefusedError. Where envelopes are verified nothing else gets in around them, but for events of named sources."""
        if self._notices is None or is_event(parsed(body), self._settings):
            return unwrapped(body, attributes, self._settings)
        told, fields = handed_on(await self._notices.verified(body, at_s))
        return told, fields

    async def _extend(self) -> None:
        """Twice within the time for which they are ours. What fails shows when the message is acknowledged."""
        while True:
            await asyncio.sleep(self._settings.visibility / 2)
            with suppress(DestinationError, TimeoutError):
                await self._visible_after(list(self._ours.values()), int(self._settings.visibility))

    async def _visible_after(self, tokens: Sequence[_Token], seconds: int) -> None:
        """Raises DestinationError when it is not so for all of them."""
        for begin in range(0, len(tokens), BATCH):
            entries = [
                {"Id": str(place), "ReceiptHandle": token.handle, "VisibilityTimeout": seconds}
                for place, token in enumerate(tokens[begin : begin + BATCH])
            ]
            self._all(await self._asked("ChangeMessageVisibilityBatch", {"Entries": entries}))

    async def _deleted(self, tokens: Sequence[_Token]) -> None:
        entries = [{"Id": str(place), "ReceiptHandle": token.handle} for place, token in enumerate(tokens)]
        answer = await self._asked("DeleteMessageBatch", {"Entries": entries})
        for done in answer.get("Successful") or []:
            self._ours.pop(tokens[int(done["Id"])].number, None)
        self._all(answer)

    def _all(self, answer: Any) -> None:
        failed = answer.get("Failed") or []
        if failed:
            raise self._service.refused(400, str(failed[0].get("Code", "")))

    async def _asked(self, operation: str, wanted: Mapping[str, Any], wait_s: float = 0.0) -> Any:
        return await self._within(self._service.json(f"AmazonSQS.{operation}", {"QueueUrl": self._settings.queue, **wanted}), wait_s)

    async def _within(self, asked: Any, wait_s: float = 0.0) -> Any:
        try:
            async with asyncio.timeout(self._settings.timeout + wait_s):
                return await asked
        except TimeoutError:
            raise failure("upstream_timeout", f"{self._service.who} did not answer in time", sent=True) from None

    def _token(self, message: Incoming) -> _Token:
        token: _Token = message.token
        if self._ours.get(token.number) is not token:
            raise failure("upstream_reset", f"the message is {self._service.who}'s again: it was taken before this was closed")
        return token

    def _check(self) -> None:
        if not self._open:
            raise failure("destination_closed", f"the consumer {self._name} is not open")
        if self._lost is not None:
            raise failure(self._lost.code, str(self._lost))


def build(settings: SqsSource, *, name: str, clock: Clock, random: Random, root: Path = Path()) -> SqsConsumer:
    return SqsConsumer(settings, name, clock, root)
