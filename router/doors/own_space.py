"""The paths that are the gateway's own: nothing below them is ever decided about, or sent to an upstream.

Who asks is identified and limited like any caller. Each first segment is one reader's, who only reads; below some of them something may be
said, too.
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
from router.errors import RefusedError, ReviewError
from router.ports import Headers
from router.review.refusing import REVIEW_STATUS

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
        """`name` is the path below the reader's segment. Raises RefusedError, ReviewError, AuditError, StateError."""


Body = Callable[[int], Awaitable[bytes]]
"""All of it, of at most so many bytes. Raises RefusedError (408, 413), ClientGoneError."""


class Writer(Protocol):
    async def write(self, runtime: Runtime, head: Head, subject: Subject, name: str, body: Body) -> Told:
        """As `Reader.read`, of a POST; durable when it returns."""


class OwnSpace:
    """`writers` are of segments that have a reader."""

    def __init__(self, readers: Mapping[str, Reader], writers: Mapping[str, Writer] | None = None) -> None:
        self._readers = readers
        self._writers = writers or {}

    def holds(self, head: Head) -> bool:
        return head.path.startswith(PREFIX)

    def takes(self, head: Head) -> bool:
        """Whether its body is read."""
        return head.method == "POST" and _place(head)[0] in self._writers

    async def answer(self, runtime: Runtime, head: Head, subject: Subject, send: Send, visit: Visit, body: Body) -> None:
        """Raises RefusedError, AuditError, StateError."""
        try:
            told = await self._told(runtime, head, subject, visit, body)
        except ReviewError as error:
            raise RefusedError(str(error), error.code, REVIEW_STATUS.get(error.code, 503), 1) from None
        if told.body is not None:
            await whole(send, head.method, told)
            return
        headers: Headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
        if told.wait_s:
            headers.append((b"retry-after", b"%d" % told.wait_s))
        await respond(send, 200, orjson.dumps(told.document), headers)

    async def _told(self, runtime: Runtime, head: Head, subject: Subject, visit: Visit, body: Body) -> Told:
        segment, name = _place(head)
        reader, writer = self._readers.get(segment), self._writers.get(segment)
        if reader is None:
            raise missing()
        if writer is not None and head.method == "POST":
            return await writer.write(runtime, head, subject, name, body)
        if head.method in ("GET", "HEAD"):
            return await reader.read(runtime, subject, name, visit)
        methods = ("GET", "HEAD", "POST") if writer is not None else ("GET", "HEAD")
        told, allowed = " and ".join(methods), (("allow", ", ".join(methods)),)
        raise RefusedError(f"Only {told} are served here.", "method_not_allowed", 405, fields=allowed)


def _place(head: Head) -> tuple[str, str]:
    segment, _, name = head.path.removeprefix(PREFIX).partition("/")
    return segment, name


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
