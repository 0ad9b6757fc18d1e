"""gRPC's framing over an ASGI server: length-prefixed messages in a request's body, a status in the trailers.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md. Of compression nothing is offered and nothing taken.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote

from google.protobuf.message import DecodeError, Message

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
OK, DEADLINE_EXCEEDED, NOT_FOUND, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL = 0, 4, 5, 8, 12, 13
PREFIX = 5  # bytes before a message: whether it is compressed, and its length
PRINTABLE = " !\"#$&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"
UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
HEAD = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/grpc")], "trailers": True}


class StatusError(Exception):
    """How a call ends that does not end well."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Framed:
    """One call. `read` gives messages of `kind`, and None where no more come; none is longer than `most` bytes. `gone`: nobody is there to
    be told anything. Raises StatusError for what is not framed as it has to be."""

    __slots__ = ("_begun", "_ended", "_held", "_kind", "_most", "_receive", "_scope", "_send", "gone")

    def __init__(self, scope: Event, receive: Receive, send: Send, kind: type[Message], most: int) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._kind = kind
        self._most = most
        self._held = b""  # of the next message
        self._begun = False
        self._ended = False
        self.gone = False

    async def read(self) -> Any:
        """A message mostly comes in one piece."""
        if (whole := self._next()) is not None:
            return whole
        while not self._ended:
            piece = await self._piece()
            self._held = self._held + piece if self._held else piece
            if (lacking := self._lacking()) > 0:
                self._held = await self._rest(lacking)
            if (whole := self._next()) is not None:
                return whole
        if self._held and not self.gone:
            raise StatusError(INTERNAL, "a message is not whole")
        return None

    async def messages(self) -> AsyncIterator[Any]:
        while (message := await self.read()) is not None:
            yield message

    async def write(self, message: Message, /) -> None:
        if self.gone:
            return
        await self._begin()
        content = message.SerializeToString()
        await self._send({"type": "http.response.body", "body": b"\0" + len(content).to_bytes(4, "big") + content, "more_body": True})

    def invocation_metadata(self) -> list[tuple[str, str | bytes]]:
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._scope["headers"] if not name.endswith(b"-bin")]

    async def end(self, status: int, detail: str = "") -> None:
        """The call is over."""
        if self.gone:
            return
        await self._begin()
        trailers = [(b"grpc-status", b"%d" % status)]
        if detail:
            trailers.append((b"grpc-message", quote(detail, safe=PRINTABLE).encode()))
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        await self._send({"type": "http.response.trailers", "headers": trailers})

    async def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            await self._send(HEAD)

    def _next(self) -> Message | None:
        """The first of what is held, if all of it is here."""
        held = self._held
        if len(held) < PREFIX or self._lacking() > 0:
            return None
        end = PREFIX + int.from_bytes(held[1:PREFIX], "big")
        self._held = held[end:]
        try:
            return self._kind.FromString(held[PREFIX:end])
        except DecodeError:
            raise StatusError(INTERNAL, "a message is not of its kind") from None

    def _lacking(self) -> int:
        """How many bytes of a message are still to come, as far as its length is known. Raises StatusError."""
        held = self._held
        if len(held) < PREFIX:
            return 0
        if held[0]:
            raise StatusError(UNIMPLEMENTED, "messages are not taken compressed")
        length = int.from_bytes(held[1:PREFIX], "big")
        if length > self._most:
            raise StatusError(RESOURCE_EXHAUSTED, f"a message is longer than {self._most} bytes")
        return PREFIX + length - len(held)

    async def _rest(self, lacking: int) -> bytes:
        """Of a message that comes in several pieces, without copying what is here for each of them."""
        pieces = [self._held]
        while lacking > 0 and not self._ended:
            pieces.append(await self._piece())
            lacking -= len(pieces[-1])
        return b"".join(pieces)

    async def _piece(self) -> bytes:
        event = await self._receive()
        if event["type"] != "http.request":
            self.gone = self._ended = True
            return b""
        self._ended = not event.get("more_body", False)
        piece: bytes = event.get("body", b"")
        return piece


def timeout(scope: Event) -> float | None:
    """Seconds that the call has from its beginning. Raises StatusError."""
    said = next((value for name, value in scope["headers"] if name == b"grpc-timeout"), None)
    if said is None:
        return None
    found = TIMEOUT.fullmatch(said)
    if found is None:
        raise StatusError(INTERNAL, "grpc-timeout is not understood")
    return int(found[1]) * UNITS[found[2]]
