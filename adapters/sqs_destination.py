"""The `sqs` kind of destination: `Config` and `build`, as the adapter table wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapters.aws.config import SqsConfig as Config
from adapters.aws.service import Service
from adapters.aws.texts import attributes, body, measured, typed
from adapters.messaging.destination import MessageDestination, Receipt, receipt
from adapters.messaging.message import Message, unmapped
from adapters.messaging.scoped import scoped
from router.ports import Clock, Random

__all__ = ["Config", "build"]

FIFO = ".fifo"


class SqsPeer:
    def __init__(self, settings: Config, clock: Clock, root: Path) -> None:
        self.repeatable = settings.act_once or settings.group is not None
        """A FIFO queue itself acts once on an id, for five minutes."""
        self._settings = settings
        self._service = Service(settings, "sqs", "SQS", clock, root)

    async def open(self) -> None:
        self._service.prepare()

    async def close(self) -> None:
        await self._service.close()

    async def ping(self) -> None:
        await self._service.json("AmazonSQS.ListQueues", {"MaxResults": 1})

    async def deliver(self, message: Message) -> Receipt:
        queue = message.text(self._settings.queue)
        text, encoded = body(message.content)
        own = {name: message.text(line) for name, line in self._settings.attributes.items()}
        told = attributes(message, encoded, own)
        measured(text, told, self._settings.largest, self._service.who)
        wanted = {"QueueUrl": queue, "MessageBody": text, "MessageAttributes": typed(told), **self._ordered(message, queue)}
        answer = await self._service.json("AmazonSQS.SendMessage", wanted)
        details = {"message_id": answer.get("MessageId"), "sequence": answer.get("SequenceNumber")}
        return receipt(queue, {name: value for name, value in details.items() if value is not None})

    def _ordered(self, message: Message, queue: str) -> dict[str, Any]:
        if queue.endswith(FIFO) != (self._settings.group is not None):
            raise unmapped("'group' is for FIFO queues, and a FIFO queue needs one")
        if self._settings.group is None:
            return {}
        return {"MessageGroupId": message.text(self._settings.group), "MessageDeduplicationId": scoped(message)}


def build(settings: Config, *, name: str, clock: Clock, random: Random, root: Path = Path()) -> MessageDestination:
    return MessageDestination(name, settings, SqsPeer(settings, clock, root), clock, random)
