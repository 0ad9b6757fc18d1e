"""The `sns` kind of destination: `Config` and `build`, as the adapter table wants them."""

from __future__ import annotations

import re
from pathlib import Path

from adapters.aws.config import SnsConfig as Config
from adapters.aws.service import Service
from adapters.aws.texts import attributes, body, measured
from adapters.messaging.destination import MessageDestination, Receipt, receipt
from adapters.messaging.message import Message, unmapped
from adapters.messaging.scoped import scoped
from router.ports import Clock, Random

__all__ = ["Config", "build"]

FIFO = ".fifo"
VERSION = {"Version": "2010-03-31"}
MESSAGE_ID = re.compile(rb"<MessageId>([^<]{1,128})</MessageId>")


class SnsPeer:
    def __init__(self, settings: Config, clock: Clock, root: Path) -> None:
        self.repeatable = settings.act_once or settings.group is not None
        self._settings = settings
        self._service = Service(settings, "sns", "SNS", clock, root)

    async def open(self) -> None:
        self._service.prepare()

    async def close(self) -> None:
        await self._service.close()

    async def ping(self) -> None:
        await self._service.query({"Action": "ListTopics", **VERSION})

    async def deliver(self, message: Message) -> Receipt:
        topic = message.text(self._settings.topic)
        text, encoded = body(message.content)
        own = {name: message.text(line) for name, line in self._settings.attributes.items()}
        told = attributes(message, encoded, own)
        measured(text, told, self._settings.largest, self._service.who)
        fields = {"Action": "Publish", **VERSION, "TopicArn": topic, "Message": text, **self._more(message, topic)}
        for place, (name, value) in enumerate(told.items(), 1):
            entry = f"MessageAttributes.entry.{place}"
            fields |= {f"{entry}.Name": name, f"{entry}.Value.DataType": "String", f"{entry}.Value.StringValue": value}
        found = MESSAGE_ID.search(await self._service.query(fields))
        return receipt(topic, {"message_id": found[1].decode()} if found is not None else {})

    def _more(self, message: Message, topic: str) -> dict[str, str]:
        if topic.endswith(FIFO) != (self._settings.group is not None):
            raise unmapped("'group' is for FIFO topics, and a FIFO topic needs one")
        made = {} if self._settings.subject is None else {"Subject": message.text(self._settings.subject)}
        if self._settings.group is not None:
            made |= {"MessageGroupId": message.text(self._settings.group), "MessageDeduplicationId": scoped(message)}
        return made


def build(settings: Config, *, name: str, clock: Clock, random: Random, root: Path = Path()) -> MessageDestination:
    return MessageDestination(name, settings, SnsPeer(settings, clock, root), clock, random)
