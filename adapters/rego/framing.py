"""The wire to a process that evaluates policies: frames of a 4-byte big-endian length and that many bytes, one question and one answer at a
time. Only this file knows its form, and it imports nothing that takes time to load.

Setup     JSON: `[policies by path, data as text, [[rule, files], …]]`; answered with an empty frame
Question  how many rules (one byte), their places in that list (two bytes each), the input as JSON text
Answer    for each rule: `+` what it answered, or `-` what the interpreter said instead; four bytes of length; the text
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence

LENGTH = struct.Struct(">I")
PLACE = struct.Struct(">H")
PART = struct.Struct(">cI")
ANSWERED, FAILED = b"+", b"-"
MOST_ANSWER = 1 << 20
MOST_FRAME = 2 * MOST_ANSWER  # all rules of a question together


def frame(content: bytes) -> bytes:
    return LENGTH.pack(len(content)) + content


def question(places: Sequence[int], document: str) -> bytes:
    return frame(bytes([len(places)]) + b"".join(map(PLACE.pack, places)) + document.encode())


def asked(content: bytes) -> tuple[list[int], str]:
    """Which rules, about which input."""
    end = 1 + content[0] * PLACE.size
    return [place for (place,) in PLACE.iter_unpack(content[1:end])], content[end:].decode()


def answer(parts: Sequence[tuple[bytes, str]]) -> bytes:
    texts = [(kind, text.encode()) for kind, text in parts]
    return frame(b"".join(PART.pack(kind, len(text)) + text for kind, text in texts))


def answered(content: bytes, rules: int) -> list[tuple[bytes, str]]:
    """Raises ValueError for anything but that many answers."""
    parts: list[tuple[bytes, str]] = []
    at = 0
    while at < len(content):
        if len(content) - at < PART.size or len(parts) == rules:
            raise ValueError("no answer, or one too many")
        kind, length = PART.unpack_from(content, at)
        at += PART.size
        if kind not in (ANSWERED, FAILED) or len(content) - at < length:
            raise ValueError("no answer of a known kind, or less than it says")
        parts.append((kind, content[at : at + length].decode()))
        at += length
    if len(parts) != rules:
        raise ValueError("an answer is missing")
    return parts


def read_frame(descriptor: int) -> bytes | None:
    """Waits for it; None where the other side is gone."""
    head = _exactly(descriptor, LENGTH.size)
    return None if head is None else _exactly(descriptor, LENGTH.unpack(head)[0])


def write_all(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


def _exactly(descriptor: int, count: int) -> bytes | None:
    found = bytearray()
    while len(found) < count:
        more = os.read(descriptor, min(count - len(found), 1 << 20))
        if not more:
            return None
        found += more
    return bytes(found)
