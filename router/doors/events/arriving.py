"""Bodies on their way in: a signature is over the last byte, too, so that until then anybody may have sent them.

What is bounded is the bytes that have come, for each sender and for all. Where there are too many, whoever began first gives way, and not
who comes next: a body that is meant to arrive is there in no time, and one that is kept back to be in others' way is the eldest. Who
sends nothing takes no room.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from router.doors.body import Receive
from router.errors import RefusedError

BODIES = 64  # of the longest there may be: the room for all
SHARE = 4  # what a sender may take of it: a quarter


@dataclass(slots=True, eq=False)
class _Body:
    sender: str
    giving_way: asyncio.Timeout
    size: int = 0


@dataclass(slots=True)
class _Sender:
    bodies: dict[_Body, None] = field(default_factory=dict)
    size: int = 0


class Arriving:
    """Of one worker."""

    def __init__(self) -> None:
        self._room = self._share = 0
        self._bodies: dict[_Body, None] = {}  # those of which something came, the eldest first
        self._senders: dict[str, _Sender] = {}
        self.size = 0

    @asynccontextmanager
    async def body(self, sender: str, receive: Receive, longest: int) -> AsyncIterator[Receive]:
        """What is received by what it gives counts until this is left. `sender`: by whom, or else from where. `longest`: the bytes that a
        body may have by now, which say what room there is for all. Raises RefusedError where it had to give way."""
        self._room = BODIES * longest
        self._share = self._room // SHARE
        try:
            async with asyncio.timeout(None) as giving_way:
                body = _Body(sender, giving_way)
                try:
                    yield lambda: self._received(body, receive)
                finally:
                    self._forget(body)
        except TimeoutError:
            if not giving_way.expired():
                raise
            raise RefusedError("Too much is on its way here; please try again.", "overloaded", 503, 1) from None

    async def _received(self, body: _Body, receive: Receive) -> Any:
        message = await receive()
        came = len(message.get("body", b""))
        if came and body.giving_way.when() is None:
            self._count(body, came)
        return message

    def _count(self, body: _Body, came: int) -> None:
        sender = self._senders.setdefault(body.sender, _Sender())
        self._bodies[body] = sender.bodies[body] = None
        body.size += came
        sender.size += came
        self.size += came
        while sender.size > self._share:
            self._give_way(next(iter(sender.bodies)))
        while self.size > self._room:
            self._give_way(next(iter(self._bodies)))

    def _give_way(self, body: _Body) -> None:
        self._forget(body)
        body.giving_way.reschedule(asyncio.get_running_loop().time())

    def _forget(self, body: _Body) -> None:
        if body not in self._bodies:
            return
        sender = self._senders[body.sender]
        del self._bodies[body], sender.bodies[body]
        sender.size -= body.size
        self.size -= body.size
        if not sender.bodies:
            del self._senders[body.sender]
