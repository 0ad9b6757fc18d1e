"""The paths that are the gateway's own: nothing below them is ever decided about, or sent to an upstream.

Who asks is identified and limited like any caller. Each first segment is one reader's; all of them only read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from router.decision import Subject
from router.doors.head import Head
from router.doors.responses import Send, respond
from router.doors.runtime import Runtime
from router.errors import RefusedError
from router.ports import Headers

PREFIX = "/.lockgate/"


@dataclass(frozen=True, slots=True)
class Told:
    """The answer, as JSON. `wait_s`: when it may be worth asking again, 0 for never."""

    document: Mapping[str, Any]
    wait_s: int = 0


class Reader(Protocol):
    async def read(self, runtime: Runtime, subject: Subject, name: str) -> Told:
        """`name` is the path below the reader's segment. Raises RefusedError, AuditError, StateError."""


class OwnSpace:
    def __init__(self, readers: Mapping[str, Reader]) -> None:
        self._readers = readers

    def holds(self, head: Head) -> bool:
        return head.path.startswith(PREFIX)

    async def answer(self, runtime: Runtime, head: Head, subject: Subject, send: Send) -> None:
        """Raises as readers do."""
        segment, _, name = head.path.removeprefix(PREFIX).partition("/")
        reader = self._readers.get(segment)
        if reader is None:
            raise missing()
        if head.method not in ("GET", "HEAD"):
            raise RefusedError("Only GET and HEAD are served here.", "method_not_allowed", 405, fields=(("allow", "GET, HEAD"),))
        told = await reader.read(runtime, subject, name)
        headers: Headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
        if told.wait_s:
            headers.append((b"retry-after", b"%d" % told.wait_s))
        await respond(send, 200, orjson.dumps(told.document), headers)


def missing() -> RefusedError:
    """The same for what is somebody else's and for what there never was."""
    return RefusedError("There is nothing here for this caller.", "not_found", 404)
