"""A new ledger after one that must not be continued: a restored backup, or one whose key was lost or stolen.

A ledger that is behind a checkpoint that was signed for it would, if continued, have two histories under one name. So a new one is begun
under another origin, and its first record says what went before: the predecessor's origin, size and root, and the checkpoint that is known
of it, whole. The predecessor is kept beside it, to be read and verified. What lies beside the records goes over: events that were decided
are not decided again, and deliveries that wait still go out, perhaps a second time under their id. So do erasures and the legal holds that
stood (`carrying`), as the records after the first.

1 nobody else writes   2 what the predecessor is, and what it leaves; keys that it says were destroyed are destroyed   3 the new ledger with
its first records and checkpoint, aside   4 the predecessor's file gets a second name, its checkpoints go aside   5 the new one takes its
place, in one step   6 its checkpoint is published.
A crash before 5 leaves the predecessor in its place, which the new origin does not open; the command is then given again, and looks for
checkpoints also where it had put them aside. So does who opens it under its old name.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from adapters.sqlite import connection
from adapters.sqlite.connection import refuse_missing
from adapters.sqlite.deliveries import carry_over
from adapters.sqlite.ledger import SqliteStore, locked
from adapters.sqlite.place import LEDGER_FILE
from adapters.sqlite.reader import SqliteReader
from router.audit.journal import Checkpointing, Journal, LedgerStore
from router.audit.keys.store import SubjectKeyStore
from router.audit.questions.reader import LedgerReader, Stored
from router.audit.records.record import system_entry
from router.audit.tree.checkpoint import (
    WITNESSED,
    Checkpoint,
    NoteSigner,
    NoteVerifier,
    every_note,
    every_readable_note,
    is_of,
    latest_published,
    latest_witnessed,
    note_checkpoint,
    publish,
    put_aside,
    under_name,
)
from router.audit.tree.proof import tree_root
from router.durable import sync_folder
from router.errors import AuditError
from router.wiring.carrying import CarriedOver, carried_over, in_parts, left_by
from router.wiring.ledger_place import LedgerPlace

PREDECESSORS = "predecessors"
AT_ONCE = 1000  # records of a commit
AGAIN_S = 0.1
STOLEN = "key_stolen"  # one of the reasons
BEHIND, COVERED, DIFFERS = "behind", "covered", "differs"


@dataclass(frozen=True, slots=True)
class Predecessor:
    """`note` is the checkpoint that it was held against; `relation` says how: it is `behind` it, is `covered` by it in that its records are
    those of the checkpoint, or `differs`. Empty where no checkpoint is known. `copied` says of a backup's copy when it was made."""

    origin: str
    size: int
    root: bytes
    note: str
    relation: str
    copied: str = ""

    @property
    def name(self) -> str:
        return f"{self.size:016d}-{self.root.hex()[:16]}"

    def details(self, reason: str) -> dict[str, Any]:
        said = {"origin": self.origin, "size": self.size, "root": self.root.hex(), "checkpoint": self.note, "relation": self.relation}
        return {"reason": reason, "predecessor": {**said, **({"copied": self.copied} if self.copied else {})}}


@dataclass(frozen=True, slots=True)
class Place:
    """`checkpoints` is where the ledger publishes them."""

    state: Path
    checkpoints: Path

    @property
    def ledger(self) -> Path:
        return self.state / LEDGER_FILE


@dataclass(frozen=True, slots=True)
class Around:
    """What else tells of a predecessor. `copies` are other copies of its ledger, such as the damaged one. `keys` opens the keys."""

    copies: Sequence[Callable[[], LedgerReader]] = ()
    keys: Callable[[], SubjectKeyStore] | None = None

    def left(self, reader: LedgerReader, before: Predecessor) -> CarriedOver:
        """Raises AuditError."""
        with ExitStack() as stack:
            copies = [stack.enter_context(closing(each())) for each in self.copies]
            signed = note_checkpoint(before.note).size if before.note else 0
            left = left_by(reader, copies, max(before.size, signed))
            try:
                keys = None if self.keys is None else stack.enter_context(closing(self.keys()))
            except AuditError as error:
                return carried_over(left, None, str(error).rstrip("."))
            return carried_over(left, keys, "" if keys is not None else "there are none here")


NOTHING = Around()


def recover(
    place: Place, signer: NoteSigner, reason: str, outside: str | None = None, around: Around = NOTHING
) -> tuple[Predecessor, Path, CarriedOver]:
    """What was left behind, the folder where it is kept now, and what went over. `outside` is a checkpoint that was kept elsewhere. Raises
    AuditError."""
    with _alone(place.ledger):  # 1
        with closing(SqliteReader(place.ledger, Stored)) as reader:
            before = replace(_predecessor(reader, place.checkpoints, outside, signer, reason), copied=reader.copied())  # 2
            carried = around.left(reader, before)
        try:
            return before, _succeed(place, signer, before, reason, carried), carried
        except OSError as error:
            raise AuditError(f"{place.state} cannot be written: {error.strerror}.", "audit_io_failed") from error


@contextmanager
def _alone(ledger: Path) -> Iterator[None]:
    refuse_missing(ledger)
    lock = locked(ledger)
    try:
        _whole(ledger)
        yield
    finally:
        os.close(lock)


def _whole(ledger: Path) -> None:
    """All of it is in the one file, and nobody has its write-ahead log open, not even to read: that goes by its name, which the new ledger
    gets. Who opens it from here on reads the one file. Raises AuditError `audit_being_read`."""
    until = time.monotonic() + connection.BUSY_S
    while True:
        with closing(connection.StandardConnection(ledger)) as settled:
            try:
                settled.execute("PRAGMA journal_mode=DELETE")
                settled.execute("BEGIN EXCLUSIVE")
                settled.execute("COMMIT")
                return
            except AuditError as error:
                if not connection.is_busy(error):
                    raise
                if time.monotonic() > until:  # SQLite does not wait for one that is open and does nothing
                    message = f"{ledger} is being read, perhaps by an export or a backup; end that, and give the command again."
                    raise AuditError(message, "audit_being_read") from error
        time.sleep(AGAIN_S)


def recover_shared(
    place: LedgerPlace, checkpoints: Path, signer: NoteSigner, reason: str, outside: str | None, around: Around = NOTHING
) -> tuple[Predecessor, str, CarriedOver]:
    """The same for a ledger of several nodes, none of which runs, by who owns its tables; and the schema that it is in now. Steps 3 to 5
    are in the database, where 5 is one transaction. Raises AuditError."""
    with closing(place.reader(Stored)) as reader:
        before = _predecessor(reader, checkpoints, outside, signer, reason)  # 2
        carried = around.left(reader, before)
    new = place.aside()
    checkpoint, note = _first_records(new.store(signer.verifier), signer, before, reason, carried)  # 3
    _put_aside(checkpoints, checkpoints / before.name)  # 4
    kept = place.put_in_place(new, f"before_{before.size}_{before.root.hex()[:8]}")  # 5
    publish(checkpoints, checkpoint, note)  # 6
    return before, kept, carried


def _predecessor(reader: LedgerReader, checkpoints: Path, outside: str | None, signer: NoteSigner, reason: str) -> Predecessor:
    try:
        return _held(reader, checkpoints, outside, signer, reason)
    except OSError as error:
        message = f"A checkpoint in {checkpoints} cannot be read ({error.strerror}), and may say more than the ledger: {error.filename}."
        raise AuditError(message, "checkpoint_invalid") from error


def _held(reader: LedgerReader, checkpoints: Path, outside: str | None, signer: NoteSigner, reason: str) -> Predecessor:
    _refuse_name(reader, checkpoints, signer.name)
    size, root = reader.last_commit()
    key = _its_key(signer, reader.origin(), reader.latest_checkpoint() if outside is None else outside)
    if outside is None:
        here = list(_kept_notes(checkpoints, reader.origin()))
        note = _newest(*(here if key is None else _signed(reader, checkpoints, key)), reader.latest_checkpoint())
    else:
        _refuse_another(reader, note_checkpoint(outside))
        found = _here(reader, checkpoints) if key is None else _signed(reader, checkpoints, key)
        note = _newest(outside, *(found if reason != STOLEN else ()))  # a thief may have signed what is newer
    relation = _relation(reader, size, note_checkpoint(note)) if note else ""
    return Predecessor(reader.origin(), size, root, note, relation)


def _its_key(signer: NoteSigner, origin: str, sure: str | None) -> NoteVerifier | None:
    """The key that goes on, under the old ledger's name, where `sure` is by it; else it is not known whose its checkpoints are."""
    key = NoteVerifier(under_name(signer.verifier, origin))
    return key if sure is not None and _opens(key, sure) else None


def _signed(reader: LedgerReader, checkpoints: Path, key: NoteVerifier) -> Iterator[str]:
    """The newest on this machine by that key, in the ledger or beside it. The first record says for good what was signed for, and anybody
    may have laid a file beside the ledger, which must neither count nor hide one that does."""
    notes = list[str | AuditError]()
    with suppress(AuditError):
        notes += reader.checkpoints()
    with suppress(OSError):
        notes += [note for folder in (checkpoints, *put_aside(checkpoints)) for note in every_readable_note(folder)]
    own = [note for note in notes if isinstance(note, str) and is_of(note, reader.origin())]
    yield from islice((note for note in sorted(own, key=_size, reverse=True) if _opens(key, note)), 1)


def _size(note: str) -> int:
    return note_checkpoint(note).size


def _opens(key: NoteVerifier, note: str) -> bool:
    try:
        key.open_checkpoint(note)
    except AuditError:
        return False
    return True


def _refuse_name(reader: LedgerReader, checkpoints: Path, name: str) -> None:
    """One that was signed under before would have two histories, and its own checkpoints would keep it from starting."""
    if reader.origin() == name:
        message = f"The ledger is already that of {name}; give the new one another name ('audit.origin')."
        raise AuditError(message, "audit_origin_unchanged")
    if name == _before(reader) or any(is_of(note, name) for folder in put_aside(checkpoints) for note in every_note(folder)):
        message = f"A ledger before this one was that of {name}; give the new one a name that no other had ('audit.origin')."
        raise AuditError(message, "audit_origin_unchanged")


def _before(reader: LedgerReader) -> str | None:
    """The ledger after which this one was begun, as its first record says."""
    try:
        first = next(reader.records(0, 1), None)
        return None if first is None else str(orjson.loads(first.leaf)["details"]["predecessor"]["origin"])
    except (AuditError, orjson.JSONDecodeError, LookupError, TypeError):
        return None


def _newest(*notes: str | None) -> str:
    return max((note for note in notes if note is not None), key=lambda each: note_checkpoint(each).size, default="")


def _here(reader: LedgerReader, checkpoints: Path) -> Iterator[str]:
    """Of this ledger on this machine, beside one from elsewhere that may be older; what cannot be read is none."""
    origin, folders = reader.origin(), (checkpoints, *put_aside(checkpoints))
    asked: list[Callable[[], str | None]] = [reader.latest_checkpoint]
    asked += [partial(newest, folder) for folder in folders for newest in (latest_published, latest_witnessed)]
    for ask in asked:
        with suppress(AuditError, OSError):
            note = ask()
            if note is not None and is_of(note, origin):
                yield note


def _kept_notes(checkpoints: Path, origin: str) -> Iterator[str | None]:
    """Those that lie in the directory, and of this ledger those that an earlier attempt put aside."""
    yield latest_published(checkpoints)
    yield latest_witnessed(checkpoints)
    for folder in put_aside(checkpoints):
        yield from (note for note in (latest_published(folder), latest_witnessed(folder)) if note is not None and is_of(note, origin))


def _refuse_another(reader: LedgerReader, checkpoint: Checkpoint) -> None:
    if checkpoint.origin != reader.origin():
        raise AuditError(f"The checkpoint is of {checkpoint.origin}, the ledger of {reader.origin()}.", "checkpoint_invalid")


def _relation(reader: LedgerReader, size: int, checkpoint: Checkpoint) -> str:
    _refuse_another(reader, checkpoint)
    if checkpoint.size > size:
        return BEHIND
    return COVERED if tree_root(reader, checkpoint.size) == checkpoint.root else DIFFERS


def _succeed(place: Place, signer: NoteSigner, before: Predecessor, reason: str, carried: CarriedOver) -> Path:
    aside = place.state / f"{LEDGER_FILE}.new"
    checkpoint, note = _begun(aside, signer, before, reason, carried)  # 3
    carried.beside_unread = not carry_over(place.ledger, aside)
    _whole(aside)  # its write-ahead log does not come along
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


def _begun(aside: Path, signer: NoteSigner, before: Predecessor, reason: str, carried: CarriedOver) -> tuple[Checkpoint, str]:
    for leftover in aside.parent.glob(f"{aside.name}*"):
        leftover.unlink()
    begun = _first_records(SqliteStore(aside), signer, before, reason, carried)
    aside.with_name(f"{aside.name}.lock").unlink()
    return begun


def _first_records(
    store: LedgerStore, signer: NoteSigner, before: Predecessor, reason: str, carried: CarriedOver
) -> tuple[Checkpoint, str]:
    journal = Journal(store, Checkpointing(signer))
    journal.open()
    try:
        journal.append([system_entry("recovered", time.time_ns(), {**before.details(reason), **_counted(carried)})])
        for some in in_parts(carried.entries, AT_ONCE):
            journal.append(some)
        checkpoint = Checkpoint(signer.name, journal.size, journal.root())
    finally:
        journal.close()
    return checkpoint, signer.sign(checkpoint.text())


def _counted(carried: CarriedOver) -> dict[str, Any]:
    """What could not be read is said in the ledger as well: its silence about an erasure there means nothing."""
    if not (carried.entries or carried.missing or carried.malformed):
        return {}
    unread = sum(end - start for start, end in carried.missing) + carried.malformed
    told = {"erasures": carried.erasures + carried.from_keys, "holds": carried.holds, "unread": unread}
    return {"carried_over": told}


def _put_aside(checkpoints: Path, kept: Path) -> None:
    files = [*sorted(checkpoints.glob("*.checkpoint")), *checkpoints.glob(WITNESSED)]
    if not files:
        return
    kept.mkdir(exist_ok=True)
    for file in files:
        file.replace(kept / file.name)
    sync_folder(kept)
    sync_folder(checkpoints)
