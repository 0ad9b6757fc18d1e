"""A client of C2SP tlog-tiles, written after the specification and nothing else: it shares no code with what it checks.

`fetch(path)` gets a resource below the log's prefix, or raises KeyError.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode
from collections.abc import Callable

Fetch = Callable[[str], bytes]


class Client:
    def __init__(self, fetch: Fetch) -> None:
        self.fetch = fetch
        lines = fetch("checkpoint").decode().split("\n")
        self.origin, self.size, self.root = lines[0], int(lines[1]), b64decode(lines[2])

    def verify_root(self) -> None:
        """The Merkle tree hash over all leaf hashes of level 0, and each higher tile against the tiles below it."""
        hashes = self.level(0, self.size)
        assert merkle(hashes) == self.root
        level, below = 1, hashes
        while len(below) >= 256:
            expected = [merkle(below[start : start + 256]) for start in range(0, len(below) - 255, 256)]
            assert self.level(level, len(expected)) == expected
            level, below = level + 1, expected

    def verify_root_from_the_top(self) -> None:
        """As a client does that wants no more than it needs: the highest tiles and the partial ones on the right edge."""
        assert self.range(0, self.size) == self.root

    def verify_inclusion(self, index: int) -> bytes:
        """The entry, once its own hash and those of its siblings lead to the signed root (RFC 6962, section 2.1.1)."""
        entry = self.entry(index)
        hashed = hashlib.sha256(b"\x00" + entry).digest()
        assert self.walk(index, 0, self.size, hashed) == self.root
        return entry

    def walk(self, index: int, start: int, end: int, hashed: bytes) -> bytes:
        if end - start == 1:
            return hashed
        middle = start + (1 << ((end - start - 1).bit_length() - 1))
        if index < middle:
            return node(self.walk(index, start, middle, hashed), self.range(middle, end))
        return node(self.range(start, middle), self.walk(index, middle, end, hashed))

    def range(self, start: int, end: int) -> bytes:
        """MTH(D[start:end]) for a range as RFC 6962 splits them, from the highest tiles that have it."""
        count = end - start
        if count & (count - 1) == 0:
            bits = count.bit_length() - 1
            level, rest = divmod(bits, 8)
            first = start >> (8 * level)
            return merkle([self.hash(level, first + place) for place in range(1 << rest)])
        middle = start + (1 << (count.bit_length() - 1))
        return node(self.range(start, middle), self.range(middle, end))

    def hash(self, level: int, index: int) -> bytes:
        tile, place = divmod(index, 256)
        return self.tile(str(level), tile, self.width(level, tile))[place * 32 :][:32]

    def level(self, level: int, count: int) -> list[bytes]:
        raw = b"".join(self.tile(str(level), tile, min(256, count - tile * 256)) for tile in range((count + 255) // 256))
        assert len(raw) == count * 32
        return [raw[place : place + 32] for place in range(0, len(raw), 32)]

    def entry(self, index: int) -> bytes:
        return self.entries(index // 256)[index % 256]

    def entries(self, tile: int) -> list[bytes]:
        raw, found = self.tile("entries", tile, self.width(0, tile)), []
        while raw:
            length = raw[0] << 8 | raw[1]
            assert len(raw) >= 2 + length
            found.append(raw[2 : 2 + length])
            raw = raw[2 + length :]
        assert len(found) >= self.width(0, tile)
        return found[: self.width(0, tile)]

    def width(self, level: int, tile: int) -> int:
        return min(256, (self.size // 256**level) - tile * 256)

    def tile(self, name: str, index: int, width: int) -> bytes:
        path = f"tile/{name}/{number(index)}" + ("" if width == 256 else f".p/{width}")
        try:
            raw = self.fetch(path)
        except KeyError:  # a partial one may be gone once the full one is there
            raw = self.fetch(f"tile/{name}/{number(index)}")
            raw = raw if name == "entries" else raw[: width * 32]
        if name != "entries":
            assert len(raw) == width * 32
        return raw


def number(index: int) -> str:
    """1234067 is x001/x234/067."""
    text = str(index % 1000).zfill(3)
    while index >= 1000:
        index //= 1000
        text = f"x{index % 1000:03d}/{text}"
    return text


def merkle(hashes: list[bytes]) -> bytes:
    """MTH over leaf hashes, as RFC 6962 section 2.1 says it."""
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return node(merkle(hashes[:split]), merkle(hashes[split:]))


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
