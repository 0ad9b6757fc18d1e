"""How a ledger and its index are read. Everything blocks; a ledger may be read while it is written, and is never changed by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from router.audit.questions.conditions import Asked
from router.audit.tree.proof import NodeSource

if TYPE_CHECKING:
    from router.audit.questions.segments import Integers

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

    def leaves_with(self, text: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """(index, leaf) of those records of `records` whose leaf has `text` in it. The store looks for it, and gives out nothing else."""

    def commits(self) -> Iterator[tuple[int, bytes]]:
        """(size, root) after every commit, in order."""

    def checkpoints(self) -> list[str]:
        """Signed notes, smallest tree first."""

    def damage(self) -> str | None:
        """Why what is kept beside the records cannot be what was written there, if it cannot."""

    def latest_checkpoint(self) -> str | None: ...

    def notes(self, least: int, limit: int, newest: bool) -> list[str]:
        """At most `limit` signed notes over `least` records or more, by size: the largest first when `newest`, else the smallest."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Difference:
    """Of an index from one that is made of the records; of those before `record` its answers are right. `what` is said of it."""

    record: int
    what: str


IndexRow = dict[str, Any]
Chunk: TypeAlias = "dict[str, Integers]"
"""Values of the records that matched, by column, as packed: words and ids as codes."""


FOREIGN = (-1, b"")


class IndexStore(Protocol):
    """Answers questions about records by column. Derived: it may be thrown away at any time."""

    def complete(self) -> tuple[int, bytes]:
        """(records indexed, leaf hash of the last of them); FOREIGN where it is not of this release, and has to be reset."""

    def reset(self) -> None: ...

    def extend(
        self, rows: Sequence[IndexRow], start: int, complete: int, last_hash: bytes, breathe: Callable[[], None] | None = None
    ) -> None:
        """Adds the rows of the records [start, complete), in order; one that is missing is unreadable. Does nothing where the index is not
        complete up to `start`: then another process was quicker. What follows a decision inherits its columns and gives it its own
        (`columns.INHERITED`, `columns.LATE`). `breathe` is called again and again, as by `catch_up`."""

    def events(self, names: Sequence[str], after: int) -> list[int]:
        """Indexes, from `after` on and in order, of the system records with one of these events."""

    def times(self, step: int) -> Iterator[tuple[int, str | None]]:
        """(index, time) of every `step`-th record, in order."""

    def find(self, asked: Asked, after: int | None, newest: bool, limit: int, more: Sequence[str] = ()) -> list[IndexRow]:
        """Rows by index, descending when `newest`, that come after the index `after` in that order. `more` names columns that are wanted
        besides the usual ones."""

    def scan(self, asked: Asked, columns: Sequence[str]) -> Iterator[Chunk]:
        """Everything that matches, oldest first; `record` is always among the columns."""

    def words(self, column: str) -> Sequence[str | tuple[str, ...]]:
        """What the codes of a column of words stand for; code 0 is none's."""

    def id(self, column: str, code: int) -> str | None:
        """What a code of a column of ids stands for."""

    def close(self) -> None: ...
