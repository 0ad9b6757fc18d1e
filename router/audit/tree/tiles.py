"""The ledger's tree as C2SP tlog-tiles: which tiles there are for a tree, what their paths are and what is in them.

A tile is up to 256 consecutive hashes of a level that is a multiple of eight, which are exactly the hashes that the ledger keeps; an entry
bundle is up to 256 consecutive leaves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, count

from router.audit.questions.reader import LedgerReader
from router.audit.tree.proof import STRIDE
from router.errors import AuditError

WIDTH = 1 << STRIDE
HASH_BYTES = 32
PATH = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([0-9]{1,3}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Tile:
    """`level` None is an entry bundle. `width` hashes or entries from `index` * 256 on; 256 is a full tile, less a partial one."""

    level: int | None
    index: int
    width: int = WIDTH

    @property
    def full(self) -> bool:
        return self.width == WIDTH

    @property
    def path(self) -> str:
        digits = f"{self.index:0{-(-len(str(self.index)) // 3) * 3}d}"
        *most, last = (digits[place : place + 3] for place in range(0, len(digits), 3))
        name = "entries" if self.level is None else str(self.level)
        partial = "" if self.full else f".p/{self.width}"
        return "/".join(["tile", name, *(f"x{group}" for group in most), last]) + partial

    def within(self, size: int) -> bool:
        """Whether a tree of `size` records has all of it."""
        return self.index * WIDTH + self.width <= size >> STRIDE * (self.level or 0)


def parse_path(path: str) -> Tile | None:
    """None for everything but the one way in which a tile is written."""
    found = PATH.fullmatch(path)
    if found is None:
        return None
    name, index, width = found.groups()
    level = None if name == "entries" else int(name)
    tile = Tile(level, int(index.replace("x", "").replace("/", "")), WIDTH if width is None else int(width))
    if tile.path != path or not 1 <= tile.width <= WIDTH or (level or 0) > 63:
        return None
    return tile


def tiles_of(size: int) -> Iterator[Tile]:
    """All tiles of a tree of so many records, entry bundles first, at each level from left to right; at most one of a level is partial."""
    for level in chain((None,), count()):
        hashes = size >> STRIDE * (level or 0)
        if not hashes:
            return
        yield from (Tile(level, index) for index in range(hashes // WIDTH))
        if hashes % WIDTH:
            yield Tile(level, hashes // WIDTH, hashes % WIDTH)


def read_tile(reader: LedgerReader, tile: Tile) -> bytes:
    """Raises AuditError where the ledger does not have what its size says."""
    start, end = tile.index * WIDTH, tile.index * WIDTH + tile.width
    if tile.level is None:
        leaves = [stored.leaf for stored in reader.records(start, end)]
        _complete(tile, len(leaves))
        return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves)
    hashes = reader.nodes(tile.level * STRIDE, start, end)
    _complete(tile, len(hashes))
    return b"".join(hashes)


def entries(bundle: bytes) -> Iterator[bytes]:
    """The leaves of an entry bundle that this module made."""
    place = 0
    while place < len(bundle):
        length = int.from_bytes(bundle[place : place + 2], "big")
        yield bundle[place + 2 : place + 2 + length]
        place += 2 + length


def _complete(tile: Tile, found: int) -> None:
    if found != tile.width:
        raise AuditError(f"The ledger has {found} of the {tile.width} parts of {tile.path}.", "audit_tree_broken")
