"""The paths that are the gateway's own: nothing below them is ever decided about, or sent to an upstream.

Who asks is identified and limited like any caller. Each first segment is one reader's; all of them only read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from router.decision import Subject
from router.doors.body import Receive
from router.doors.dates import date_field
from router.doors.head import Head
from router.doors.responses import Send, respond
from router.doors.runtime import Runtime
from router.errors import RefusedError
from router.ports import Headers

PREFIX = "/.lockgate/"


@dataclass(frozen=True, slots=True)
class Told:
    """The answer, as JSON, or `body` with whatever `headers` say of it. `wait_s`: when it may be worth asking again, 0 for never."""

    document: Mapping[str, Any]
    wait_s: int = 0
    status: int = 200
    headers: Headers = field(default_factory=list)
    body: bytes | None = None


async def _at_once() -> None:
    """Nobody has to know."""


@dataclass(frozen=True, slots=True)
class Visit:
    """How a caller asks. `receive` tells when he leaves, and is None where nobody can wait; `waits` says that the answer will take long."""

    headers: Headers
    receive: Receive | None = None
    waits: Callable[[], Awaitable[None]] = _at_once

    def field(self, name: bytes) -> bytes:
        """Its first value; empty where there is none."""
        return next((value for each, value in self.headers if each.lower() == name), b"")


class Reader(Protocol):
    async def read(self, runtime: Runtime, subject: Subject, name: str, visit: Visit) -> Told:
        """`name` is the path below the reader's segment. Raises RefusedError, AuditError, StateError."""


class OwnSpace:
    def __init__(self, readers: Mapping[str, Reader]) -> None:
        self._readers = readers

    def holds(self, head: Head) -> bool:
        return head.path.startswith(PREFIX)

    async def answer(self, runtime: Runtime, head: Head, subject: Subject, send: Send, visit: Visit) -> None:
        """Raises as readers do."""
        segment, _, name = head.path.removeprefix(PREFIX).partition("/")
        reader = self._readers.get(segment)
        if reader is None:
            raise missing()
        if head.method not in ("GET", "HEAD"):
            raise RefusedError("Only GET and HEAD are served here.", "method_not_allowed", 405, fields=(("allow", "GET, HEAD"),))
        told = await reader.read(runtime, subject, name, visit)
        if told.body is not None:
            await whole(send, head.method, told)
            return
        headers: Headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
        if told.wait_s:
            headers.append((b"retry-after", b"%d" % told.wait_s))
        await respond(send, 200, orjson.dumps(told.document), headers)


async def whole(send: Send, method: str, told: Told, more: Headers | None = None) -> None:
    """An answer without a body (RFC 9110 §6.4.1) has the length that it would have, if it is told at all."""
    bare = told.status in (204, 304)
    length = [] if bare else [(b"content-length", b"%d" % len(told.body or b""))]
    headers = [*told.headers, *(more or []), *length, (b"date", date_field())]
    await send({"type": "http.response.start", "status": told.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if bare or method == "HEAD" else told.body or b""})


def missing() -> RefusedError:
    """The same for what is somebody else's and for what there never was."""
    return RefusedError("There is nothing here for this caller.", "not_found", 404)
