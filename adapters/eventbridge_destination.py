"""The `eventbridge` kind of destination: `Config` and `build`, as the adapter table wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from adapters.aws.config import EventBridgeConfig as Config
from adapters.aws.service import Service
from adapters.messaging.destination import MessageDestination, Receipt, failure, receipt
from adapters.messaging.message import Message, unmapped
from adapters.messaging.scoped import scoped
from router.errors import DestinationError
from router.ports import Clock, Random

__all__ = ["Config", "build"]


class EventBridgePeer:
    def __init__(self, settings: Config, clock: Clock, root: Path) -> None:
        self.repeatable = settings.act_once
        self._settings, self._clock = settings, clock
        self._service = Service(settings, "events", "EventBridge", clock, root)

    async def open(self) -> None:
        self._service.prepare()

    async def close(self) -> None:
        await self._service.close()

    async def ping(self) -> None:
        await self._service.json("AWSEvents.ListEventBuses", {"Limit": 1}, "1.1")

    async def deliver(self, message: Message) -> Receipt:
        """The service answers 200 also where it did not take the event: each entry has an answer of its own."""
        settings = self._settings
        bus, source, kind = message.text(settings.bus), message.text(settings.source), message.text(settings.detail_type)
        detail = self._detail(message)
        size = 14 + sum(len(each.encode()) for each in (detail, source, kind))  # with a time, as the service counts
        if size > settings.largest:
            raise failure("body_too_large", f"{self._service.who} takes events of at most {settings.largest} bytes, and this has {size}")
        entry = {"EventBusName": bus, "Source": source, "DetailType": kind, "Detail": detail, "Time": self._clock.now_ns() // 1_000_000_000}
        answer = await self._service.json("AWSEvents.PutEvents", {"Entries": [entry]}, "1.1")
        told = (answer.get("Entries") or [{}])[0]
        if answer.get("FailedEntryCount") or told.get("ErrorCode") or not told.get("EventId"):
            raise self._failed(str(told.get("ErrorCode") or ""))
        return receipt(bus, {"event_id": told["EventId"]})

    def _detail(self, message: Message) -> str:
        value: Any = message.json()
        if not isinstance(value, dict):
            raise unmapped("the detail of an event is a JSON object, and the body is none; make one with 'input'")
        name = self._settings.metadata
        if name is None:
            return orjson.dumps(value).decode()
        if name in value:
            raise unmapped(f"the body has a field '{name}' already, in which 'metadata' would stand")
        return orjson.dumps({**value, name: {"message-id": scoped(message), **message.fields}}).decode()

    def _failed(self, code: str) -> DestinationError:
        made = self._service.refused(400, code)
        made.sent = False  # it says that it did not take it
        return made


def build(settings: Config, *, name: str, clock: Clock, random: Random, root: Path = Path()) -> MessageDestination:
    return MessageDestination(name, settings, EventBridgePeer(settings, clock, root), clock, random)
