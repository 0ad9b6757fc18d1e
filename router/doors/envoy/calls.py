"""gRPC calls, whatever carries them: what is one, how long it may take, and how it ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from google.protobuf.message import Message

from router.doors.envoy.framing import DEADLINE_EXCEEDED, INTERNAL, OK, Fields, StatusError, timeout
from router.doors.envoy.streams import Stream

log = logging.getLogger("lockgate.envoy")
GRPC = b"application/grpc"
ADDED_S = 3600.0 * 24  # a longer time is as good as none


class Ending(Stream, Protocol):
    """A stream that can be told how its call ended; who is gone already hears nothing."""

    def end(self, status: int, detail: str = "") -> None: ...


@dataclass(frozen=True, slots=True)
class Method:
    """What answers a call, whose requests are of `kind`."""

    answer: Callable[[Stream], Awaitable[None]]
    kind: type[Message]


Methods = Mapping[bytes, Method]
"""By path."""


async def answered(call: Ending, method: Method, fields: Fields) -> None:
    """Nothing that an answer raises goes further than its call."""
    limit = None
    try:
        given = timeout(fields)
        if given is None or given > ADDED_S:
            await method.answer(call)
        else:
            async with asyncio.timeout(given) as limit:
                await method.answer(call)
    except StatusError as error:
        call.end(error.status, error.detail)
    except Exception:  # whoever called hears of it, and no other call does
        if limit is not None and limit.expired():
            call.end(DEADLINE_EXCEEDED, "the call took longer than it may")
            return
        log.exception("a call failed in a way that nobody foresaw")
        call.end(INTERNAL, "the call failed inside Lockgate")
    else:
        call.end(OK)


def unfit(method: bytes, fields: Fields) -> int | None:
    """The HTTP status of what is no gRPC."""
    if method != b"POST":
        return 405
    kind = te = b""
    for name, value in fields:
        if name == b"content-type":
            kind = value
        elif name == b"te":
            te = value
    if kind != GRPC and kind.partition(b";")[0].strip().lower() not in (GRPC, GRPC + b"+proto"):  # `application/grpc-web` is something else
        return 415
    return None if te == b"trailers" else 400
