"""How a ledger and its index are read. Everything blocks; a ledger may be read while it is written, and is never changed by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from router.audit.proof import NodeSource

KeyLookup = Callable[[str], bytes | None]
"""The key of a key id; None once it was destroyed."""


class Keys(Protocol):
    def key(self, key_id: str) -> bytes | None:
        """A KeyLookup."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Stored:
    index: int
    leaf: bytes
    sealed: bytes
    key_id: str


class LedgerReader(NodeSource, Protocol):
    def origin(self) -> str: ...

    def size(self) -> int:
        """Records up to the last commit."""

    def last_commit(self) -> tuple[int, bytes]:
        """(size, root)"""

    def records(self, start: int, end: int) -> Iterator[Stored]:
        """Records whose index lies in [start, end), in order. In a damaged ledger there may be holes, and some from `size` on."""

    def commits(self) -> Iterator[tuple[int, bytes]]:
        """(size, root) after every commit, in order."""

    def checkpoints(self) -> list[str]:
        """Signed notes, smallest tree first."""

    def latest_checkpoint(self) -> str | None: ...

    def notes(self, least: int, limit: int, newest: bool) -> list[str]:
        """At most `limit` signed notes over `least` records or more, by size: the largest first when `newest`, else the smallest."""

    def close(self) -> None: ...


Condition = tuple[str, str, Any]
"""(column, one of = >= <= <, value); a reason is asked for by the column `reason` and ="""
IndexRow = dict[str, Any]


class IndexStore(Protocol):
    """Answers questions about records by column. Derived: it may be thrown away at any time."""

    def complete(self) -> tuple[int, bytes]:
        """(records indexed, leaf hash of the last of them)"""

    def reset(self) -> None: ...

    def extend(self, rows: Sequence[IndexRow], complete: int, last_hash: bytes) -> None:
        """Adds rows in order. A row of kind `outcome` gives its decision its result, and takes over the decision's columns."""

    def events(self, names: Sequence[str], after: int) -> list[int]:
        """Indexes, from `after` on and in order, of the system records with one of these events."""

    def times(self, step: int) -> Iterator[tuple[int, str | None]]:
        """(index, time) of every `step`-th record, in order."""

    def find(self, conditions: Sequence[Condition], after: int | None, newest: bool, limit: int) -> list[IndexRow]:
        """Rows by index, descending when `newest`, that come after the index `after` in that order."""

    def close(self) -> None: ...
