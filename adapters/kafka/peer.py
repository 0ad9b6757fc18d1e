"""A `kafka` destination's peer."""

from __future__ import annotations

from pathlib import Path

from adapters.kafka.config import DestinationConfig
from adapters.kafka.sender import Sender
from adapters.messaging.destination import Receipt, receipt
from adapters.messaging.message import Message, unmapped
from adapters.messaging.scoped import scoped

MESSAGE_ID = "x-lockgate-message-id"


class KafkaPeer:
    """Kafka knows no ids of messages: what is sent again is there twice, under one id in a header field."""

    repeatable = False

    def __init__(self, settings: DestinationConfig, root: Path) -> None:
        self._settings = settings
        self._topics = frozenset(settings.topics) or frozenset({settings.topic.source})
        self._sender = Sender(settings, root, settings.timeout, settings.most, settings.compression)

    async def open(self) -> None:
        self._sender.check()

    async def close(self) -> None:
        await self._sender.close()

    async def ping(self) -> None:
        await self._sender.ping()

    async def deliver(self, message: Message) -> Receipt:
        topic = message.text(self._settings.topic)
        if topic not in self._topics:
            raise unmapped("what the request makes of 'topic' is none of the destination's 'topics'")
        key = message.text(self._settings.key).encode() if self._settings.key is not None else None
        message_id = scoped(message)
        headers = {**message.fields, MESSAGE_ID: message_id}
        if message.content_type:
            headers["content-type"] = message.content_type
        partition, offset = await self._sender.send(topic, key, message.content, headers)
        return receipt(f"kafka:{topic}/{partition}", {"id": message_id, "topic": topic, "partition": partition, "offset": offset})
