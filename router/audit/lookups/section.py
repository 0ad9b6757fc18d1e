"""Sections on disk: derived from the ledger, made again where they are missing. Proofs that an answer from one is whole come from here.

A file is `MAGIC`, the number of entries of each kind (8 bytes, big-endian, in the order of `KINDS`), then for each kind its sorted entries
and the nodes of its tree, level by level.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from router.audit.lookups.entries import ENTRY, KEY, KINDS, Lists, Summary, summary
from router.audit.tree.merkle import leaf_hash
from router.audit.tree.proof import STRIDE, subtrees
from router.audit.tree.ranges import boundary_hashes
from router.durable import replace
from router.errors import AuditError

MAGIC = b"LGSECT01"
HASH, COUNT = 32, 8


@dataclass(frozen=True, slots=True)
class Run:
    """All entries of a key in a section, with the entry before and the one after them, where there are such; `first` is the place of the
    first one given. `boundary` are the hashes around them, from left to right, that lead to the section's root."""

    first: int
    entries: list[bytes]
    boundary: list[bytes]


class Tree:
    """The entries of one kind in an open section."""

    def __init__(self, view: memoryview, count: int, place: int) -> None:
        self.count = count
        self._view = view
        self._entries = place
        self._subtree = subtrees(self)

    @property
    def size(self) -> int:
        """In the file, bytes."""
        return self.count * ENTRY + sum(self.count >> level for level in _levels(self.count)) * HASH

    def entries(self) -> list[bytes]:
        return [self[place] for place in range(self.count)]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: int) -> bytes:
        start = self._entries + place * ENTRY
        return bytes(self._view[start : start + ENTRY])

    def nodes(self, level: int, start: int, end: int) -> list[bytes]:
        """A NodeSource."""
        if level == 0:
            return [leaf_hash(self[place]) for place in range(start, min(end, self.count))]
        below = self._entries + self.count * ENTRY + sum(self.count >> each for each in _levels(self.count) if each < level) * HASH
        end = min(end, self.count >> level)
        return [bytes(self._view[below + place * HASH : below + (place + 1) * HASH]) for place in range(start, end)]

    def run(self, key: bytes) -> Run:
        low, high = self._place(key), self._place(_after(key))
        first, end = max(0, low - 1), min(self.count, high + 1)
        boundary = boundary_hashes(first, end, self.count, self._subtree)
        return Run(first, [self[place] for place in range(first, end)], boundary)

    def _place(self, key: bytes) -> int:
        """Of the first entry whose key is not smaller."""
        low, high = 0, self.count
        while low < high:
            middle = (low + high) // 2
            if self[middle][:KEY] < key:
                low = middle + 1
            else:
                high = middle
        return low


class Section:
    """An open file. Raises AuditError `section_unreadable` where it is none, or not whole."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._view = memoryview(self._map)
        self.trees: Mapping[str, Tree] = self._trees(path)

    def lists(self) -> Lists:
        return {kind: tree.entries() for kind, tree in self.trees.items()}

    def close(self) -> None:
        self._view.release()
        self._map.close()

    def _trees(self, path: Path) -> dict[str, Tree]:
        place, trees = len(MAGIC) + COUNT * len(KINDS), dict[str, Tree]()
        if len(self._view) >= place and self._view[: len(MAGIC)] == MAGIC:
            for number, kind in enumerate(KINDS):
                start = len(MAGIC) + COUNT * number
                count = int.from_bytes(self._view[start : start + COUNT], "big")
                trees[kind] = Tree(self._view, count, place)
                place += trees[kind].size
        if not trees or place != len(self._view):
            self.close()
            raise AuditError(f"{path} is no section of an index; it may be deleted, and is then made again.", "section_unreadable")
        return trees


def summaries(lists: Lists) -> dict[str, Summary]:
    return {kind: summary(lists[kind]) for kind in KINDS}


def write_section(path: Path, lists: Lists, trees: Mapping[str, Summary]) -> None:
    """Whole or not there."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replace(path) as file:
            file.write(MAGIC + b"".join(trees[kind].count.to_bytes(COUNT, "big") for kind in KINDS))
            for kind in KINDS:
                file.write(b"".join(lists[kind]))
                file.writelines(trees[kind].nodes)
    except OSError as error:
        raise AuditError(f"{path} cannot be written: {error.strerror}.", "section_unwritable") from error


def _levels(count: int) -> Iterable[int]:
    return range(STRIDE, count.bit_length() + STRIDE, STRIDE)


def _after(key: bytes) -> bytes:
    """The smallest key that is larger."""
    number = int.from_bytes(key, "big") + 1
    return number.to_bytes(KEY, "big") if number < 1 << (8 * KEY) else key + b"\x00"
