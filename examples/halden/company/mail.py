"""Halden's NATS streams: PAYMENTS, in which the payments service tells what happened, NOTICES for whoever wants to know, and BURIED for
what is no event."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import nats

USER = "halden"
STREAMS = {"PAYMENTS": ["payments.>"], "NOTICES": ["notices.>"], "BURIED": ["buried.>"]}
T = TypeVar("T")


class Streams:
    def __init__(self, url: str, password: str) -> None:
        self._url = url
        self._password = password

    def make(self) -> None:
        async def made(stream: Any) -> None:
            for name, subjects in STREAMS.items():
                await stream.add_stream(name=name, subjects=subjects)

        self._on(made)

    def send(self, event: Mapping[str, Any]) -> None:
        """As a structured CloudEvent, to the subject of its type. Returns when the stream has it."""
        subject = "payments." + str(event["type"]).rpartition(".")[2]
        headers = {"content-type": "application/cloudevents+json"}
        self._on(lambda stream: stream.publish(subject, json.dumps(event).encode(), headers=headers))

    def notices(self) -> list[str]:
        """Decisions under which notices were sent, in their order."""

        async def read(stream: Any) -> list[str]:
            last = (await stream.stream_info("NOTICES")).state.last_seq
            found = [await stream.get_msg("NOTICES", number) for number in range(1, last + 1)]
            return [each.headers["x-lockgate-decision-id"] for each in found]

        return self._on(read)

    def counts(self) -> dict[str, int]:
        async def count(stream: Any) -> dict[str, int]:
            return {name: (await stream.stream_info(name)).state.messages for name in STREAMS}

        return self._on(count)

    def _on(self, what: Callable[[Any], Awaitable[T]]) -> T:
        async def ask() -> T:
            connected = await nats.connect(self._url, user=USER, password=self._password)
            try:
                return await what(connected.jetstream())
            finally:
                await connected.close()

        return asyncio.run(ask())
