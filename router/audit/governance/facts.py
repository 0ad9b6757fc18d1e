"""What has to be known of a ledger before anything of it may be destroyed, and how what was done is proven. Everything blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from router.audit.governance.standing import Hold, Standing, follow, read_through
from router.audit.keys.comparing import Compared, compared_at, compared_now, is_of
from router.audit.questions.conditions import Plain
from router.audit.questions.index import FAR, behind, catch_up
from router.audit.questions.reader import IndexRow, IndexStore, LedgerReader, Stored
from router.audit.tree.checkpoint import note_checkpoint
from router.audit.tree.proof import prove_inclusion
from router.errors import AuditError

PAGE = 1000
PIECE = 500_000  # records; some ten seconds


@dataclass(frozen=True, slots=True)
class Receipt:
    """A record under a signed checkpoint, with its inclusion proof (leaf upwards). `checkpoint` is None while none covers it."""

    index: int
    leaf: dict[str, Any]
    checkpoint: str | None
    inclusion: list[bytes]


class Facts:
    """Over the files that the ledger's owner writes; always as of now."""

    def __init__(self, reader: LedgerReader, index: IndexStore) -> None:
        self.reader = reader
        self.index = index
        self._standing = Standing()
        self._later: Standing | None = None

    def standing(self) -> Standing:
        catch_up(self.reader, self.index)
        follow(self.reader, self.index, self._standing)
        return self._standing

    def orders(self, since: int = 0) -> Standing:
        """The same for who needs nothing else: where the index is far behind, from the records, which takes a sixth of building it, and
        once more only what came since. Of the records before `since`, which somebody looked at already, nothing is read then; the answer's
        `since` says so."""
        if behind(self.reader, self.index) <= FAR:
            return self.standing()
        standing = self._read_since(since)
        read_through(self.reader, standing)
        return standing

    def piece(self, since: int) -> tuple[Standing, Compared] | None:
        """What `orders` would read, `PIECE` records further than the last time, and the mark for so many; None where that would be all,
        or the index tells."""
        standing = self._read_since(since)
        if behind(self.reader, self.index) <= FAR or self.reader.size() - standing.taken <= PIECE:
            return None
        read_through(self.reader, standing, PIECE)
        return standing, compared_at(self.reader, standing.taken)

    def compared(self) -> Compared:
        """The mark for keys that were held against all that is there."""
        return compared_now(self.reader)

    def seen(self, mark: Compared | None) -> int:
        """How many of these very records a mark is over."""
        return 0 if mark is None or not is_of(mark, self.reader) else mark.size

    def _read_since(self, since: int) -> Standing:
        """What is taken of the records themselves."""
        if self._standing.taken >= since:
            return self._standing
        self._later = self._later or Standing(taken=since, since=since)
        return self._later

    def rows(self, *conditions: Plain, newest: bool = False) -> Iterator[IndexRow]:
        after: int | None = None
        while page := self.index.find(conditions, after, newest, PAGE):
            yield from page
            after = page[-1]["idx"]

    def count(self, key_id: str) -> tuple[int, int]:
        """(records that are sealed under this key, records in the ledger)"""
        size = catch_up(self.reader, self.index)
        rows = self.rows(("key_id", "=", key_id))  # an order that names the key is found by it as well
        return sum(1 for row in rows if row["kind"] != "system" or self.stored(row["idx"]).key_id == key_id), size

    def hold_on_subject(self, key_id: str) -> Hold | None:
        """A hold on the subject, on a decision of theirs, or on an intent that one of theirs was about, here or in a ledger before."""
        standing = self.standing()
        direct = standing.holding(key_id=key_id) or standing.reaching(key_id)
        return direct or next((hold for hold in standing.holds.values() if self._concerns(hold, key_id)), None)

    def stored(self, index: int) -> Stored:
        found = next(self.reader.records(index, index + 1), None)
        if found is None:
            raise AuditError(f"Record {index} is missing from the ledger; run a verification.", "audit_record_missing")
        return found

    def receipt(self, index: int) -> Receipt:
        leaf, note = orjson.loads(self.stored(index).leaf), self.reader.latest_checkpoint()
        size = 0 if note is None else note_checkpoint(note).size
        return Receipt(index, leaf, note, prove_inclusion(self.reader, index, size)) if index < size else Receipt(index, leaf, None, [])

    def _concerns(self, hold: Hold, key_id: str) -> bool:
        column = {"decision": "decision_id", "intent": "intent"}.get(hold.on)
        return column is not None and next(self.rows((column, "=", hold.target), ("key_id", "=", key_id)), None) is not None
