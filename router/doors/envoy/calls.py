"""gRPC calls as an ASGI application: which method, how long, and how it ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from google.protobuf.message import Message

from router.doors.envoy.framing import (
    DEADLINE_EXCEEDED,
    INTERNAL,
    OK,
    UNIMPLEMENTED,
    Event,
    Framed,
    Receive,
    Send,
    StatusError,
    timeout,
)

log = logging.getLogger("lockgate.envoy")
GRPC = b"application/grpc"
ADDED_S = 3600.0 * 24  # a longer time is as good as none


@dataclass(frozen=True, slots=True)
class Method:
    """What answers a call, whose requests are of `kind`."""

    answer: Callable[[Framed], Awaitable[None]]
    kind: type[Message]


class Calls:
    """The application. `methods` by path; `most`: bytes of a message. What is not a call that is served here is told so, and nothing that
    an answer raises goes further than its call."""

    def __init__(self, methods: Mapping[str, Method], most: int) -> None:
        self._methods = methods
        self._most = most

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # the server closes it
        if (status := _unfit(scope)) is not None:
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        method = self._methods.get(scope["path"])
        stream = Framed(scope, receive, send, method.kind if method is not None else Message, self._most)
        if method is None:
            await stream.end(UNIMPLEMENTED, "there is no such method")
            return
        await _answered(scope, stream, method)


async def _answered(scope: Event, stream: Framed, method: Method) -> None:
    limit = None
    try:
        given = timeout(scope)
        if given is None or given > ADDED_S:
            await method.answer(stream)
        else:
            async with asyncio.timeout(given) as limit:
                await method.answer(stream)
    except StatusError as error:
        await stream.end(error.status, error.detail)
    except Exception:  # whoever called hears of it, and no other call does
        if limit is not None and limit.expired():
            await stream.end(DEADLINE_EXCEEDED, "the call took longer than it may")
            return
        log.exception("a call of %s failed in a way that nobody foresaw", scope["path"])
        await stream.end(INTERNAL, "the call failed inside Lockgate")
    else:
        await stream.end(OK)


def _unfit(scope: Event) -> int | None:
    """The HTTP status of what is no gRPC."""
    fields = dict(scope["headers"])
    if scope["method"] != "POST":
        return 405
    if not _is_grpc(fields.get(b"content-type", b"")):
        return 415
    return None if fields.get(b"te") == b"trailers" else 400


def _is_grpc(kind: bytes) -> bool:
    """With protobuf in it; `application/grpc-web` is something else."""
    return kind.partition(b";")[0].strip().lower() in (GRPC, GRPC + b"+proto")
