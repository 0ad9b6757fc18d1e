"""What differs from engine to engine, and one engine as a peer of messages and as a follower."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from adapters.messaging.destination import Receipt, failure, receipt
from adapters.messaging.document import CARRIED, DECISION_ID
from adapters.messaging.message import Message, unmapped
from adapters.workflows.access import Access
from adapters.workflows.client import Answer, Call, Client, refused
from adapters.workflows.config import EngineConfig
from router.errors import DestinationError
from router.ports import Ended

FIRST_S, LAST_S = 0.1, 2.0  # between two looks at work whose end a caller waits for
Ids = Mapping[str, Any]
Ask = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Begun:
    """`ids` are what the caller is told, and by which the work is found again, where `followed`."""

    ids: Ids
    followed: bool = True


class Engine(Protocol):
    """A kind's table. `ask` raises DestinationError for statuses that are no answer to the call."""

    repeatable: bool
    place: str
    access: Access

    async def begin(self, ask: Ask, message: Message) -> Begun:
        """Sets the work in motion, or finds that it was before, under the message's id. Raises DestinationError."""

    async def ended(self, ask: Ask, ids: Ids) -> Ended | None:
        """None while it goes on. Raises DestinationError."""

    async def ping(self, ask: Ask) -> None: ...


class _Asking:
    """A client with the engine's access."""

    def __init__(self, name: str, settings: EngineConfig, engine: Engine) -> None:
        self._name = name
        self._engine = engine
        self._client = Client(name, settings.tls)

    async def open(self) -> None:
        await self._client.open()

    async def close(self) -> None:
        await self._client.close()

    async def ask(self, call: Call) -> Answer:
        access = self._engine.access
        answer = await self._client.ask(call.with_fields(await access.fields(call, self._client.ask, fresh=False)))
        if answer.status == 401 and access.renews:
            answer = await self._client.ask(call.with_fields(await access.fields(call, self._client.ask, fresh=True)))
        if not 200 <= answer.status < 300 and answer.status not in call.good:
            raise refused(self._name, call, answer)
        return answer


class EnginePeer:
    """Implements `adapters.messaging.destination.Peer`."""

    def __init__(self, name: str, settings: EngineConfig, engine: Engine) -> None:
        self._name = name
        self._settings = settings
        self._engine = engine
        self._asking: _Asking | None = None
        self.repeatable = engine.repeatable

    async def open(self) -> None:
        self._asking = _Asking(self._name, self._settings, self._engine)
        await self._asking.open()

    async def close(self) -> None:
        if self._asking is not None:
            await self._asking.close()

    async def ping(self) -> None:
        await self._engine.ping(self._opened().ask)

    async def deliver(self, message: Message) -> Receipt:
        asking = self._opened()
        carried = {name: message.fields[name] for name in (*CARRIED, DECISION_ID) if name in message.fields}

        async def ask(call: Call) -> Answer:
            return await asking.ask(call.with_fields(carried))

        begun = await self._engine.begin(ask, message)
        ended = await self._waited(asking.ask, begun) if self._settings.wait is not None and begun.followed else None
        if ended is not None and not ended.well:
            raise failure("work_failed", f"{self._name} did what was asked, and it ended as {ended.state}", sent=True)
        told = begun.ids if ended is None else {**begun.ids, "state": ended.state}
        work = orjson.dumps(dict(begun.ids)).decode() if begun.followed else ""
        return receipt(self._engine.place, told, 202 if ended is None else 200, work)

    async def _waited(self, ask: Ask, begun: Begun) -> Ended | None:
        """Looking may fail; the work goes on."""
        pause = FIRST_S
        try:
            async with asyncio.timeout(self._settings.wait):
                while True:
                    await asyncio.sleep(pause)
                    if (ended := await self._engine.ended(ask, begun.ids)) is not None:
                        return ended
                    pause = min(LAST_S, pause * 1.5)
        except (TimeoutError, DestinationError):
            return None

    def _opened(self) -> _Asking:
        if self._asking is None:
            raise failure("destination_closed", f"{self._name} is not open")
        return self._asking


class EngineFollower:
    """Implements `router.ports.Follower`."""

    def __init__(self, name: str, settings: EngineConfig, engine: Engine) -> None:
        self._name = name
        self._settings = settings
        self._engine = engine
        self._asking: _Asking | None = None

    async def open(self) -> None:
        self._asking = _Asking(self._name, self._settings, self._engine)
        await self._asking.open()

    async def close(self) -> None:
        if self._asking is not None:
            await self._asking.close()

    async def ended(self, work: str) -> Ended | None:
        if self._asking is None:
            raise failure("destination_closed", f"{self._name} is not open")
        return await self._engine.ended(self._asking.ask, orjson.loads(work))


def fields_of(message: Message) -> dict[str, Any]:
    """The message's content, for engines that take named values. Raises DestinationError `input_unmapped`."""
    found = message.json()
    if not isinstance(found, dict):
        raise unmapped("the engine takes named values, so the body, or what `input` makes of it, must be a JSON object")
    return found


def told(ends: Mapping[str, Ended], state: Any) -> Ended | None:
    """None for a state that is no end."""
    return ends.get(state) if isinstance(state, str) else None


COMPLETED, FAILED, CANCELLED, TIMED_OUT, UNKNOWN = (
    Ended("completed", True),
    Ended("failed", False),
    Ended("cancelled", False),
    Ended("timed_out", False),
    Ended("unknown", False),
)
