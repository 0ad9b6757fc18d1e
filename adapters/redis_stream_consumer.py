"""The `redis-stream` kind of event source: a consumer group of one stream, each entry acknowledged by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import orjson

from adapters.messaging.aside import why
from adapters.messaging.destination import failure
from adapters.messaging.shelf import Shelf
from adapters.redis_state.places import slot
from adapters.redis_streams.asking import Redis
from adapters.redis_streams.config import StreamSource
from adapters.redis_streams.scripts import BURY, CLAIM, MAKE_GROUP, OURS, RETRIED, RETURN, Entry
from router.errors import ConfigError, DestinationError
from router.ports import Clock, Incoming, Random

__all__ = ["StreamConsumer", "StreamSource", "build"]

BLOCK_MS = 1000
"""A connection that waits for entries answers nothing else; less than what a connection's own heartbeat waits."""
RETURNED = "lockgate-returned"
"""Who has what was given back when its consumer closed, so that anybody takes it at once."""


class StreamConsumer:
    """Implements `router.ports.Consumer`. Redis knows no waiting: what is given back waits here, and comes to another only when this
    process ends. A question for entries outlives who asked it: what it brings is kept for the next."""

    def __init__(self, settings: StreamSource, name: str, random: Random, root: Path) -> None:
        self._settings, self._name = settings, name
        self._me = f"lockgate-{int(random.random() * 2**53):014x}"
        self._reading, self._asking = Redis(settings, root), Redis(settings, root)
        self._numbers = count(1)
        self._shelf = Shelf()
        self._ours: dict[bytes, int] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._lost: DestinationError | None = None
        self._room = asyncio.Event()
        self._open = False

    def __repr__(self) -> str:
        return f"StreamConsumer({self._name}, ours={len(self._ours)})"

    async def open(self) -> None:
        """Raises ConfigError, DestinationError."""
        made = self._settings
        if made.cluster and slot(made.stream.encode()) != slot(made.dead_letter.encode()):
            raise ConfigError(f"The streams '{made.stream}' and '{made.dead_letter}' are in different slots of the cluster; use hash tags.")
        self._lost, self._open = None, True
        await self._reading.open()
        await self._asking.open()
        try:
            begin = "$" if made.begin == "new" else "0"
            await self._asking.run(MAKE_GROUP, (made.stream,), (made.group, begin), within_s=made.timeout)
        except DestinationError:
            self._open = False
            raise
        self._tasks = [asyncio.create_task(self._guarded(each)) for each in (self._reads, self._claims, self._signs)]

    async def close(self) -> None:
        """What is ours is put where anybody takes it at once."""
        was_open, self._open = self._open, False
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._reading.close()
        self._shelf.clear()
        self._ours.clear()
        made = self._settings
        if was_open and tasks:
            with suppress(DestinationError):
                idle = int(made.idle * 1000)
                await self._asking.run(RETURN, (made.stream,), (made.group, self._me, RETURNED, idle), within_s=made.timeout)
        await self._asking.close()

    async def ping(self) -> None:
        self._check()
        await self._asking.ask(
            self._settings.stream, "XPENDING", self._settings.stream, self._settings.group, within_s=self._settings.timeout
        )

    async def take(self, most: int) -> Sequence[Incoming]:
        while True:
            self._check()
            found = self._shelf.next(most)
            if found:
                self._room.set()
                return found
            await self._shelf.wait()

    async def acknowledge(self, messages: Sequence[Incoming]) -> None:
        self._check()
        made, ids = self._settings, [self._token(message).id for message in messages]
        if ids:
            await self._asking.ask(made.stream, "XACK", made.stream, made.group, *ids, within_s=made.timeout)
        self._gone(ids)

    async def give_back(self, message: Incoming, after_s: float) -> None:
        self._check()
        made, entry = self._settings, self._token(message)
        await self._asking.run(RETRIED, (made.stream,), (made.group, self._me, entry.id, message.tries), within_s=made.timeout)
        self._shelf.put(self._ours[entry.id], replace(message, tries=message.tries + 1), after_s)

    async def bury(self, message: Incoming, reason: str) -> None:
        """Both at once, or neither."""
        self._check()
        made, entry = self._settings, self._token(message)
        told: dict[bytes, bytes] = {
            **entry.fields,
            **{name.encode(): text.encode() for name, text in why(self._name, message, reason).items()},
        }
        pairs = [part for pair in told.items() for part in pair]
        await self._asking.run(BURY, (made.stream, made.dead_letter), (made.group, entry.id, *pairs), within_s=made.timeout)
        self._gone([entry.id])

    async def _reads(self) -> None:
        made = self._settings
        await self._has_room()
        answer = await self._reading.ask(
            made.stream,
            *("XREADGROUP", "GROUP", made.group, self._me, "COUNT", self._free(), "BLOCK", BLOCK_MS, "STREAMS", made.stream, ">"),
            within_s=made.timeout + BLOCK_MS / 1000,
        )
        for _, entries in answer or []:
            for entry_id, fields in entries:
                self._arrived(entry_id, fields, 1)

    async def _claims(self) -> None:
        """Those whose consumers are gone, at once, and then now and again."""
        made = self._settings
        cursor: bytes | str = "0-0"
        while True:
            await self._has_room()
            arguments = (made.group, self._me, int(made.idle * 1000), cursor, self._free())
            cursor, found = await self._asking.run(CLAIM, (made.stream,), arguments, within_s=made.timeout)
            for entry_id, fields, tries in found:
                self._arrived(entry_id, fields, int(tries))
            if cursor == b"0-0":
                break
        await asyncio.sleep(made.idle / 2)

    async def _signs(self) -> None:
        """That those which are here are alive. What another has by now is not taken back."""
        made = self._settings
        await asyncio.sleep(made.idle / 3)
        if self._ours:
            await self._asking.run(OURS, (made.stream,), (made.group, self._me, *self._ours), within_s=made.timeout)

    async def _guarded(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            while True:
                await step()
        except DestinationError as error:
            self._lost = error
            self._shelf.tell()

    async def _has_room(self) -> None:
        while self._free() < 1:
            self._room.clear()
            await self._room.wait()

    def _free(self) -> int:
        return max(0, self._settings.prefetch - len(self._shelf))

    def _arrived(self, entry_id: bytes, fields: Sequence[bytes], tries: int) -> None:
        entry = Entry(entry_id, dict(zip(fields[::2], fields[1::2], strict=True)))
        if entry_id in self._ours:  # this process was held up for so long that it took from itself
            return
        number = self._ours[entry_id] = next(self._numbers)
        content, content_type, told = _read(entry.fields, self._settings.content.encode())
        told.setdefault("message-id", told.get("id", entry_id.decode()))
        place = f"{self._settings.stream}/{entry_id.decode()}"
        self._shelf.put(number, Incoming(content, content_type, told, b"", max(1, tries), place, entry))

    def _gone(self, ids: Sequence[bytes]) -> None:
        for each in ids:
            self._ours.pop(each, None)

    def _token(self, message: Incoming) -> Entry:
        entry: Entry = message.token
        if entry.id not in self._ours:
            raise failure("upstream_reset", "the entry is the group's again: it was taken before this was closed")
        return entry

    def _check(self) -> None:
        if not self._open:
            raise failure("destination_closed", f"the consumer {self._name} is not open")
        if self._lost is not None:
            raise failure(self._lost.code, str(self._lost))


def _read(fields: Mapping[bytes, bytes], name: bytes) -> tuple[bytes, str, dict[str, str]]:
    told = {key.decode("utf-8", "replace").lower(): value.decode("utf-8", "replace") for key, value in fields.items() if key != name}
    if name in fields:
        return fields[name], told.get("content-type", ""), told
    return orjson.dumps(told), "application/json", {**told, "content-type": "application/json"}


def build(settings: StreamSource, *, name: str, clock: Clock, random: Random, root: Path = Path()) -> StreamConsumer:
    return StreamConsumer(settings, name, random, root)
