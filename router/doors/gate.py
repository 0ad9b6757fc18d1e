"""The ASGI application of the gateway listener: sheds what is too much, drains on the way out, and hands the rest to the doors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from router.doors.body import Receive
from router.doors.gateway import Gateway
from router.doors.held import WAITING
from router.doors.responses import Send, respond_problem
from router.doors.runtime import Observer, Runtime
from router.doors.under_way import UnderWay
from router.doors.websocket import WebSocketDoor
from router.errors import RefusedError

log = logging.getLogger("lockgate.gateway")


class Gate:
    """`runtime` may be replaced at any time; requests under way keep the one that they began with (see `idle`)."""

    runtime: Runtime | None

    def __init__(
        self, gateway: Gateway, sockets: WebSocketDoor, observer: Observer, concurrency: int, queue: int, under_way: UnderWay
    ) -> None:
        self.runtime = None
        self._gateway = gateway
        self._sockets = sockets
        self._observer = observer
        self._slots = asyncio.Semaphore(concurrency)
        self._most = concurrency + queue
        self._inside = 0
        self.under_way = under_way
        self._users: dict[int, int] = {}
        self._left: dict[int, asyncio.Event] = {}

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        runtime = self.runtime
        if scope["type"] == "lifespan":
            raise RuntimeError("the gateway is started by its worker and has no lifespan")
        if runtime is None or self._inside >= self._most:
            await self._shed(scope, receive, send, "starting" if runtime is None else "overloaded")
            return
        self.keep(runtime)
        place = _Place(self)
        try:
            await self._slots.acquire()
            place.slot = True
            await self._serve(runtime, scope, receive, send, place)
        finally:
            place.end()
            self.leave(runtime)

    async def _serve(self, runtime: Runtime, scope: dict[str, Any], receive: Receive, send: Send, place: _Place) -> None:
        started = False

        async def noting(message: Any) -> None:
            nonlocal started
            if message is WAITING:  # thousands may wait for a person, and none of them keeps another from being served
                place.leave()
                return
            if not started and _lasts(message):
                place.stream()
            started = True
            await send(message)

        door = self._sockets if scope["type"] == "websocket" else self._gateway
        try:
            await door.handle(runtime, scope, receive, noting)
        except Exception:
            log.exception("a request failed in a way that nobody foresaw")
            self._observer.refused("internal", 500)
            if started or scope["type"] == "websocket":
                raise
            await respond_problem(send, 500, "internal", "The request failed inside Lockgate; the log has the details.")

    async def _shed(self, scope: dict[str, Any], receive: Receive, send: Send, code: str) -> None:
        self._observer.refused(code, 503)
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1013})
            return
        detail = "Lockgate is at its limit; please try again." if code == "overloaded" else "Lockgate is starting."
        await respond_problem(send, 503, code, detail, headers=[(b"retry-after", b"1")])

    @contextmanager
    def using(self) -> Iterator[Runtime]:
        """What serves now, for a request of another door; it is kept until that request is done."""
        runtime = self.runtime
        if runtime is None:
            raise RefusedError("Lockgate is starting.", "starting", 503, 1)
        self.keep(runtime)
        self.under_way.begin()
        try:
            yield runtime
        finally:
            self.under_way.count -= 1
            self.leave(runtime)

    def keep(self, runtime: Runtime) -> None:
        """From here until `leave` it is not closed."""
        self._users[id(runtime)] = self._users.get(id(runtime), 0) + 1

    def leave(self, runtime: Runtime) -> None:
        key = id(runtime)
        self._users[key] -= 1
        if self._users[key] == 0:
            del self._users[key]
            if key in self._left:
                self._left.pop(key).set()

    async def idle(self, runtime: Runtime) -> None:
        """Returns when no request uses `runtime` any more. Call it after another one has taken its place."""
        if id(runtime) in self._users:
            await self._left.setdefault(id(runtime), asyncio.Event()).wait()


class _Place:
    """A request's share of the concurrency, given back once: when it ends, or when it becomes a stream, which may last for hours and costs
    next to nothing. How many streams there may be is for the destination's own limit."""

    def __init__(self, gate: Gate) -> None:
        self._gate: Gate | None = gate
        self._streaming: UnderWay | None = None
        self.slot = False
        gate._inside += 1
        gate.under_way.begin()

    def leave(self) -> None:
        gate, self._gate = self._gate, None
        if gate is not None:
            gate._inside -= 1
            gate.under_way.count -= 1
            if self.slot:
                gate._slots.release()

    def stream(self) -> None:
        if self._gate is not None:
            self._streaming = self._gate.under_way
            self._streaming.streams += 1
            self.leave()

    def end(self) -> None:
        self.leave()
        if self._streaming is not None:
            self._streaming.streams -= 1


def _lasts(message: Any) -> bool:
    if message["type"] == "websocket.accept":
        return True
    fields = message.get("headers", ())
    return any(name.lower() == b"content-type" and value[:17].lower() == b"text/event-stream" for name, value in fields)
