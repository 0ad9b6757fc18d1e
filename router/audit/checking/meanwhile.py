"""What went while a ledger was verified, or just before, because somebody ordered it.

A verification goes on for as long as it takes, beside the server that owns the ledger. A personal part that is pruned meanwhile is gone
when its record is looked at, a key that is erased as well, and the record that says so lies behind those that are verified, or no
checkpoint covered it yet when they were looked up. It excuses what is missing as every other one does: once a checkpoint is signed over it,
which is waited for where the ledger goes on. Who has no key and takes something out gains a minute by adding such a record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from router.audit.checking.accounting import Missing
from router.audit.governance.standing import EVENTS, Standing
from router.audit.keys.succession import Rotation, rotation
from router.audit.questions.reader import LedgerReader, Stored
from router.audit.records.record import SYSTEM
from router.audit.tree.checkpoint import Checkpoint, note_checkpoint
from router.audit.tree.merkle import CompactRange, leaf_hash
from router.errors import AuditError

WAIT_S = 90.0
"""More than a checkpoint comes after a record by default."""
AGAIN_S = 1.0
_SYSTEM = f'"schema":"{SYSTEM}"'.encode()
SignedBy = Callable[[str, Sequence[str], Sequence[Rotation]], Checkpoint]
"""What a note says once it is signed as it has to be; with the hand-overs of meanwhile, and the checkpoints that they end with. Raises
AuditError."""
Order = tuple[int, dict[str, Any]]
"""(index, leaf)"""


@dataclass(slots=True)
class Later:
    """The records after those of `tree`, which was verified. `covered` records are under a checkpoint, of which `standing` has what was not
    known to be before; `pending` are the orders that are under none, `rotations` the hand-overs that none covered when the checkpoints
    were read. Nothing excuses once a checkpoint is not of these records."""

    reader: LedgerReader
    tree: CompactRange
    signed_by: SignedBy
    covered: int
    pending: list[Order]
    rotations: list[Rotation]
    standing: Standing = field(default_factory=Standing)
    forged: bool = False
    grew: bool = False

    def read_on(self) -> None:
        """Raises AuditError where the ledger cannot be read."""
        note = next(iter(self.reader.notes(max(self.tree.size, self.covered + 1), 1, newest=True)), None)
        if note is None or self.forged:
            return
        try:
            self._grow(note_checkpoint(note).size)
            claim = self.signed_by(note, self._handing(), self.rotations)
            self.forged = (claim.origin, claim.size, claim.root) != (self.reader.origin(), self.tree.size, self.tree.root())
        except AuditError:
            self.forged = True
        if self.forged:
            self.standing, self.pending = Standing(), []
            return
        self.covered = claim.size
        _take(self.standing, (order for order in self.pending if order[0] < self.covered))
        self.pending = [order for order in self.pending if order[0] >= self.covered]

    def unsigned(self) -> Standing:
        """What those order that no checkpoint covers yet."""
        standing, end = Standing(), self.reader.size()
        self.grew = self.grew or end > self.tree.size
        _take(standing, self.pending)
        if not self.forged:
            _take(standing, _orders(self._records(self.tree.size, end)))
        return standing

    def _grow(self, size: int) -> None:
        found = list[Order]()
        for stored in self._records(self.tree.size, min(size, self.reader.size())):
            self.tree.append(leaf_hash(stored.leaf))
            self.grew = True
            found += _orders([stored])
        self.pending += found
        self.rotations += [one for one in (rotation(*order) for order in found) if one is not None]

    def _handing(self) -> list[str]:
        """The newest checkpoint is by a key that they hand over to."""
        return [note for one in self.rotations for note in self.reader.notes(one.index + 1, 1, newest=False)]

    def _records(self, start: int, end: int) -> Iterator[Stored]:
        """Up to a hole."""
        for place, stored in enumerate(self.reader.records(start, end), start):
            if stored.index != place:
                return
            yield stored


def unexcused(missing: Sequence[Missing], later: Later) -> list[Missing]:
    """Those that nothing signed excuses, after at most WAIT_S for a checkpoint that would, where the ledger goes on. Raises AuditError."""
    until, left = time.monotonic() + WAIT_S, list(missing)
    while True:
        later.read_on()
        left = [each for each in left if not each.excused(later.standing)]
        waiting = later.unsigned() if left else Standing()
        if not any(each.excused(waiting) for each in left):
            return left
        if not later.grew or time.monotonic() >= until:
            return [_told(each) if each.excused(waiting) else each for each in left]
        time.sleep(AGAIN_S)


def _told(one: Missing) -> Missing:
    said = f"{one.fault.message} A record says why, and no checkpoint covers that one yet: verify again once there is one."
    return replace(one, fault=replace(one.fault, message=said))


def _orders(records: Iterator[Stored] | Sequence[Stored]) -> Iterator[Order]:
    """Leaves of system records."""
    for stored in records:
        if _SYSTEM in stored.leaf:
            try:
                leaf = orjson.loads(stored.leaf)
            except orjson.JSONDecodeError:
                continue
            if isinstance(leaf, dict) and leaf.get("schema") == SYSTEM:
                yield stored.index, leaf


def _take(standing: Standing, orders: Iterator[Order] | Sequence[Order]) -> None:
    """What is malformed excuses nothing."""
    for index, leaf in orders:
        if leaf.get("event") in EVENTS:
            try:
                standing.take(index, leaf)
            except AuditError:
                continue
