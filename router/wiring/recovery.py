"""A new ledger after one that must not be continued: a restored backup, or one whose key was lost or stolen.

A ledger that is behind a checkpoint that was signed for it would, if continued, have two histories under one name. So a new one is begun
under another origin, and its first record says what went before: the predecessor's origin, size and root, and the checkpoint that is known
of it, whole. The predecessor is kept beside it, to be read and verified. What lies beside the records goes over: events that were decided
are not decided again, and deliveries that wait still go out, perhaps a second time under their id.

1 nobody else writes   2 what the predecessor is   3 the new ledger with its first record and checkpoint, aside   4 the predecessor's file
gets a second name, its checkpoints go aside   5 the new one takes its place, in one step   6 its checkpoint is published.
A crash before 5 leaves the predecessor in its place, which the new origin does not open; the command is then given again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.sqlite.connection import StandardConnection
from adapters.sqlite.deliveries import carry_over
from adapters.sqlite.ledger import SqliteStore, locked
from adapters.sqlite.place import LEDGER_FILE
from adapters.sqlite.reader import SqliteReader
from router.audit.journal import Checkpointing, Journal, LedgerStore
from router.audit.questions.reader import LedgerReader, Stored
from router.audit.records.record import system_entry
from router.audit.tree.checkpoint import Checkpoint, NoteSigner, latest_published, note_checkpoint, publish
from router.audit.tree.proof import tree_root
from router.durable import sync_folder
from router.errors import AuditError
from router.wiring.ledger_place import LedgerPlace

PREDECESSORS = "predecessors"
BEHIND, COVERED, DIFFERS = "behind", "covered", "differs"


@dataclass(frozen=True, slots=True)
class Predecessor:
    """`note` is the checkpoint that it was held against; `relation` says how: it is `behind` it, is `covered` by it in that its records are
    those of the checkpoint, or `differs`. Empty where no checkpoint is known."""

    origin: str
    size: int
    root: bytes
    note: str
    relation: str

    @property
    def name(self) -> str:
        return f"{self.size:016d}-{self.root.hex()[:16]}"

    def details(self, reason: str) -> dict[str, Any]:
        said = {"origin": self.origin, "size": self.size, "root": self.root.hex(), "checkpoint": self.note, "relation": self.relation}
        return {"reason": reason, "predecessor": said}


@dataclass(frozen=True, slots=True)
class Place:
    """`checkpoints` is where the ledger publishes them."""

    state: Path
    checkpoints: Path

    @property
    def ledger(self) -> Path:
        return self.state / LEDGER_FILE


def recover(place: Place, signer: NoteSigner, reason: str, outside: str | None = None) -> tuple[Predecessor, Path]:
    """What was left behind, and the folder where it is kept now. `outside` is a checkpoint that was kept elsewhere. Raises AuditError."""
    with _alone(place.ledger):  # 1
        before = _predecessor(SqliteReader(place.ledger, Stored), place.checkpoints, outside, signer)  # 2
        try:
            return before, _succeed(place, signer, before, reason)
        except OSError as error:
            raise AuditError(f"{place.state} cannot be written: {error.strerror}.", "audit_io_failed") from error


@contextmanager
def _alone(ledger: Path) -> Iterator[None]:
    if not ledger.is_file():
        raise AuditError(f"There is no ledger at {ledger}.", "audit_missing")
    lock = locked(ledger)
    try:
        settled = StandardConnection(ledger)
        settled.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        settled.close()
        yield
    finally:
        os.close(lock)


def recover_shared(place: LedgerPlace, checkpoints: Path, signer: NoteSigner, reason: str, outside: str | None) -> tuple[Predecessor, str]:
    """The same for a ledger of several nodes, none of which runs, by who owns its tables; and the schema that it is in now. Steps 3 to 5
    are in the database, where 5 is one transaction. Raises AuditError."""
    before = _predecessor(place.reader(Stored), checkpoints, outside, signer)  # 2
    new = place.aside()
    checkpoint, note = _first_record(new.store(signer.verifier), signer, before, reason)  # 3
    _put_aside(checkpoints, checkpoints / before.name)  # 4
    kept = place.put_in_place(new, f"before_{before.size}_{before.root.hex()[:8]}")  # 5
    publish(checkpoints, checkpoint, note)  # 6
    return before, kept


def _predecessor(reader: LedgerReader, checkpoints: Path, outside: str | None, signer: NoteSigner) -> Predecessor:
    try:
        if reader.origin() == signer.name:
            message = f"The ledger is already that of {signer.name}; give the new one another name ('audit.origin')."
            raise AuditError(message, "audit_origin_unchanged")
        size, root = reader.last_commit()
        known = [note for note in (outside, latest_published(checkpoints), reader.latest_checkpoint()) if note is not None]
        note = outside or max(known, key=lambda each: note_checkpoint(each).size, default="")
        relation = _relation(reader, size, note_checkpoint(note)) if note else ""
        return Predecessor(reader.origin(), size, root, note, relation)
    finally:
        reader.close()


def _relation(reader: LedgerReader, size: int, checkpoint: Checkpoint) -> str:
    if checkpoint.origin != reader.origin():
        raise AuditError(f"The checkpoint is of {checkpoint.origin}, the ledger of {reader.origin()}.", "checkpoint_invalid")
    if checkpoint.size > size:
        return BEHIND
    return COVERED if tree_root(reader, checkpoint.size) == checkpoint.root else DIFFERS


def _succeed(place: Place, signer: NoteSigner, before: Predecessor, reason: str) -> Path:
    aside = place.state / f"{LEDGER_FILE}.new"
    checkpoint, note = _begun(aside, signer, before, reason)  # 3
    carry_over(place.ledger, aside)
    kept = place.state / PREDECESSORS / before.name
    kept.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (kept / LEDGER_FILE).exists():
        (kept / LEDGER_FILE).hardlink_to(place.ledger)  # 4
    _put_aside(place.checkpoints, place.checkpoints / before.name)
    aside.replace(place.ledger)  # 5
    for folder in (kept, kept.parent, place.state):
        sync_folder(folder)
    publish(place.checkpoints, checkpoint, note)  # 6
    return kept


def _begun(aside: Path, signer: NoteSigner, before: Predecessor, reason: str) -> tuple[Checkpoint, str]:
    for leftover in aside.parent.glob(f"{aside.name}*"):
        leftover.unlink()
    begun = _first_record(SqliteStore(aside), signer, before, reason)
    aside.with_name(f"{aside.name}.lock").unlink()
    return begun


def _first_record(store: LedgerStore, signer: NoteSigner, before: Predecessor, reason: str) -> tuple[Checkpoint, str]:
    journal = Journal(store, Checkpointing(signer))
    journal.open()
    try:
        journal.append([system_entry("recovered", time.time_ns(), before.details(reason))])
        checkpoint = Checkpoint(signer.name, journal.size, journal.root())
    finally:
        journal.close()
    return checkpoint, signer.sign(checkpoint.text())


def _put_aside(checkpoints: Path, kept: Path) -> None:
    files = sorted(checkpoints.glob("*.checkpoint"))
    if not files:
        return
    kept.mkdir(exist_ok=True)
    for file in files:
        file.replace(kept / file.name)
    sync_folder(kept)
    sync_folder(checkpoints)
