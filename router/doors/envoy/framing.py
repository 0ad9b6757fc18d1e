"""gRPC's framing: length-prefixed messages in a body, a status in the trailers.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md. Of compression nothing is offered and nothing taken.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from google.protobuf.message import DecodeError, Message

Fields = list[tuple[bytes, bytes]]
OK, DEADLINE_EXCEEDED, NOT_FOUND, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL = 0, 4, 5, 8, 12, 13
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

    __slots__ = ("_kind", "_most", "_pieces", "_wanted", "size")

    def __init__(self, kind: type[Message], most: int) -> None:
        self._kind = kind
        self._most = most
        self._pieces: list[bytes] = []
        self._wanted = PREFIX  # bytes until there is more to tell
        self.size = 0

    def feed(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self.size += len(piece)

    def take(self) -> Message | None:
        """The next one, if all of it is here. What comes in many pieces is copied once. Raises StatusError."""
        if self.size < self._wanted:
            return None
        held = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        end = PREFIX + self._length(held)
        if len(held) < end:
            self._pieces, self._wanted = [held], end
            return None
        self._pieces = [held[end:]] if len(held) > end else []
        self._wanted, self.size = PREFIX, len(held) - end
        try:
            return self._kind.FromString(held[PREFIX:end])
        except DecodeError:
            raise StatusError(INTERNAL, "a message is not of its kind") from None

    def _length(self, held: bytes) -> int:
        if held[0]:
            raise StatusError(UNIMPLEMENTED, "messages are not taken compressed")
        length = int.from_bytes(held[1:PREFIX], "big")
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
