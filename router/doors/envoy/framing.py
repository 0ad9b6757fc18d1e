"""gRPC's framing: length-prefixed messages in a body, a status in the trailers.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md. Of compression nothing is offered and nothing taken.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from google.protobuf.message import DecodeError, Message

Fields = list[tuple[bytes, bytes]]
OK, DEADLINE_EXCEEDED, NOT_FOUND, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 0, 4, 5, 8, 12, 13, 14
PREFIX = 5  # bytes before a message: whether it is compressed, and its length
PRINTABLE = " !\"#$&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"
UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")


class StatusError(Exception):
    """How a call ends that does not end well."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Messages:
    """Messages of `kind` out of the bytes of one call, in whatever pieces they come; none is longer than `most` bytes. `size`: bytes that
    are here and in no message yet."""

    __slots__ = ("_at", "_held", "_kind", "_more", "_most", "_wanted", "size")

    def __init__(self, kind: type[Message], most: int) -> None:
        self._kind = kind
        self._most = most
        self._held = b""
        self._at = 0  # where of it the next message begins
        self._more = bytearray()  # what came after it
        self._wanted = PREFIX  # bytes until there is more to tell
        self.size = 0

    def feed(self, piece: bytes) -> None:
        if self.size:
            self._more += piece
        else:
            self._held, self._at = piece, 0
        self.size += len(piece)

    def take(self) -> Message | None:
        """The next one, if all of it is here. No byte is copied more often for many messages or pieces. Raises StatusError."""
        if self.size < self._wanted:
            return None
        begin = self._here(PREFIX) + PREFIX
        length = self._length(begin)
        if self.size < PREFIX + length:
            self._wanted = PREFIX + length
            return None
        begin = self._here(PREFIX + length) + PREFIX
        self._wanted, self._at = PREFIX, begin + length
        self.size -= PREFIX + length
        content = self._held[begin : self._at]
        if not self.size:
            self._held, self._at = b"", 0
        try:
            return self._kind.FromString(content)
        except DecodeError:
            raise StatusError(INTERNAL, "a message is not of its kind") from None

    def _here(self, size: int) -> int:
        """Where as many bytes are in one piece."""
        if len(self._held) - self._at < size:
            self._held, self._at = self._held[self._at :] + self._more, 0
            self._more.clear()
        return self._at

    def _length(self, begin: int) -> int:
        if self._held[begin - PREFIX]:
            raise StatusError(UNIMPLEMENTED, "messages are not taken compressed")
        length = int.from_bytes(self._held[begin - PREFIX + 1 : begin], "big")
        if length > self._most:
            raise StatusError(RESOURCE_EXHAUSTED, f"a message is longer than {self._most} bytes")
        return length


def framed(message: Message) -> bytes:
    content = message.SerializeToString()
    return b"\0" + len(content).to_bytes(4, "big") + content


def trailers(status: int, detail: str) -> Fields:
    made = [(b"grpc-status", b"%d" % status)]
    if detail:
        made.append((b"grpc-message", quote(detail, safe=PRINTABLE).encode()))
    return made


def timeout(fields: Fields) -> float | None:
    """Seconds that a call has from its beginning. Raises StatusError."""
    said = next((value for name, value in fields if name == b"grpc-timeout"), None)
    if said is None:
        return None
    found = TIMEOUT.fullmatch(said)
    if found is None:
        raise StatusError(INTERNAL, "grpc-timeout is not understood")
    return int(found[1]) * UNITS[found[2]]
