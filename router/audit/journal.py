"""The blocking core of the ledger: a store and the tree over it, in step. One thread at a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

from router.audit.beside import Extras, KnownArrivalsError, Pending, Waiting, extras, known_places
from router.audit.keys.signing import Signer, Signing
from router.audit.records.canonical import MAX_LEAF_BYTES
from router.audit.records.record import withheld
from router.audit.tree.checkpoint import (
    WITNESSED,
    Checkpoint,
    is_of,
    latest_published,
    latest_witnessed,
    note_checkpoint,
    publish,
    put_aside,
    write_note,
)
from router.audit.tree.merkle import CompactRange, leaf_hash
from router.audit.tree.proof import STRIDE, NodeSource, peaks, stored_hashes, tree_root
from router.audit.unsettled import Unsettled, places
from router.errors import AuditError
from router.ports import Delivery, Entry
from router.quick import quickly_made

_LOG = logging.getLogger(__name__)

T = TypeVar("T")
Row = tuple[bytes, bytes, str]
"""(leaf, sealed part, key id)"""
Node = tuple[int, int, bytes]
"""(level, index, hash) of a complete subtree; above the leaves only every eighth level is kept."""

DISK_FULL = "audit_disk_full"
STORE_UNAVAILABLE, STORE_DENIED, UNSETTLED, WRITE_AGAIN = (
    "audit_store_unavailable",
    "audit_store_denied",
    "audit_unsettled",
    "audit_write_again",
)
PASSING = frozenset({DISK_FULL, STORE_UNAVAILABLE, STORE_DENIED, UNSETTLED})
"""Failures after which the same journal may go on by itself: the store has rolled back, or finds out before it writes again."""

KEY_RETIRED = "audit_key_retired"
HARMLESS = frozenset({KEY_RETIRED, WRITE_AGAIN, "audit_rotation_failed", "audit_order_overtaken", "checkpoint_missing"})
"""Refusals of one thing, with nothing written, that say nothing against the store."""

FAR = 65_536
ATTEMPTS = 5
RETRY_S = 5.0
STALE_S = 5.0


class LedgerStore(NodeSource, Protocol):
    """Where a ledger's bytes lie. Every method blocks. A failure is an AuditError: `audit_disk_full`, `audit_store_unavailable` and
    `audit_store_denied` say that nothing was written and that it may work again later; `audit_unsettled` that it may or may not have been
    written, which the next `turn` shows; `audit_write_again`, from `write`, that nothing was written, and that another turn may be taken
    at once. Any other code says that nothing is known any more and the store must be opened anew."""

    def open(self, origin: str, *, successor: bool = False) -> tuple[int, bytes]:
        """(size, root) after the last commit. Refuses a second writer where there may be one only, and what was made for another origin,
        or where several nodes write with another key; a `successor` to that key is about to take over."""

    def turn(self) -> AbstractContextManager[tuple[int, bytes] | None]:
        """Within it nobody else appends. Gives (size, root) after the last commit, whoever made it; None where nobody else can write."""

    def write(
        self,
        first: int,
        rows: Sequence[Row],
        hashes: Sequence[bytes],
        nodes: Sequence[Node],
        root: bytes,
        pruning: Sequence[int],
        beside: Extras | None = None,
    ) -> None:
        """In a turn. One transaction, on stable storage when it returns. `root` is that of the tree of `first + len(rows)` leaves. Of the
        records `pruning` the sealed parts are removed, and nothing else. `beside` is written with it."""

    def known(self, keys: Sequence[bytes]) -> set[bytes]:
        """In a turn. Those of these arrivals that are there."""

    def answer(self, key: bytes) -> bytes | None:
        """What the record that decided this event left for whoever sends it again."""

    def lease(self, owner: str, now_ns: int, until_ns: int, limit: int) -> list[Delivery]:
        """As `router.ports.Deliveries`."""

    def renew(self, owner: str, ids: Sequence[str], until_ns: int) -> list[str]: ...

    def postpone(self, owner: str, delivery_id: str, attempts: int, due_ns: int, reason: str) -> bool: ...

    def done(self, owner: str, delivery_id: str) -> bool: ...

    def pending(self) -> Pending: ...

    def waiting(self, after: int, limit: int, dead: bool | None, tenant: str | None = None) -> list[Waiting]:
        """In the order of their decisions, those after the number `after`; with a `tenant` only what is that one's."""

    def delivery(self, delivery_id: str) -> Waiting | None: ...

    def revive(self, delivery_id: str, now_ns: int, until_ns: int) -> bool:
        """One that was given up is due again, as if it had never been tried. False where it was not given up."""

    def drop(self, delivery_id: str) -> bool:
        """Removes one that was given up. False where it was not."""

    def drop_sealed(self, key_id: str) -> int:
        """Removes those that were given up and are sealed under this key, which was destroyed: nobody can send them. How many."""

    def rename_lanes(self, lane: Callable[[bytes], bytes]) -> int:
        """Orders that are kept as they were told (`TOLD_BYTES`) are what `lane` makes of them when it returns, in all deliveries that have
        them at once; of how many deliveries."""

    def forget(self, before_ns: int, limit: int) -> int:
        """Removes arrivals that came before; how many."""

    def latest_checkpoint(self) -> str | None: ...

    def write_checkpoint(self, size: int, note: str, at_ns: int) -> None:
        """Raises AuditError `audit_key_retired` where another node handed over to another key, and `audit_rolled_back` or
        `audit_tree_broken` where what is stored is not what the note is about: then nobody may see the note."""

    def write_hand_over(self, size: int, note: str, at_ns: int, old: str | None) -> None:
        """As `write_checkpoint`; from it on the store takes checkpoints by the new key only. Raises AuditError `audit_rotation_failed`
        where a checkpoint of as many records is there, or another key than `old` is in force. Without `old` any may be."""

    def write_cosigned(self, size: int, note: str, at_ns: int) -> None:
        """A checkpoint that is there, with witnesses' lines. Raises AuditError `audit_tree_broken` where it says something else."""

    def bar(self, key_id: str) -> None:
        """From now on `barred` tells it to every node."""

    def bar_again(self, key_ids: Sequence[str]) -> None:
        """Of keys that are destroyed, where nobody barred them: in a process of before, or in the ledger before this one."""

    def barred(self, key_ids: Sequence[str]) -> set[str]:
        """In a turn. Those of them that were barred."""

    def check_order(self, order: int) -> None:
        """In a turn. Raises AuditError `audit_order_overtaken` unless this is the number of the node that may give orders."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class HandsOver:
    """The next checkpoint is a key's last or, where `old` is unknown, its successor's first. `old` is a verifier line."""

    old: str | None


@dataclass(frozen=True, slots=True)
class Checkpointing:
    """A checkpoint is signed when `records` came since the last one, or one came and `every` seconds passed, and on close. `signed` is
    then called, on the ledger's thread."""

    signer: Signer
    directory: Path | None = None
    every: float = 60.0
    records: int = 1000
    signed: Callable[[], None] | None = None
    hands_over: HandsOver | None = None


@quickly_made
@dataclass(frozen=True, slots=True)
class Written:
    """`first`: the index of the first entry that was written; the others follow it. `there`: indexes, by their places, of those that were
    there already."""

    first: int
    there: Mapping[int, int]


@quickly_made
@dataclass(frozen=True, slots=True)
class _Work:
    entries: Sequence[Entry]
    hashes: Sequence[bytes]
    beside: Extras | None
    pruning: Sequence[int]
    order: int | None

    def without(self, there: Container[int]) -> _Work:
        kept = [place for place in range(len(self.entries)) if place not in there]
        entries = [self.entries[place] for place in kept]
        beside = extras(entries, self.beside.at_ns) if self.beside is not None else None
        return replace(self, entries=entries, hashes=[self.hashes[place] for place in kept], beside=beside)


class Journal:
    def __init__(self, store: LedgerStore, checkpointing: Checkpointing) -> None:
        self._store = store
        self._plan = checkpointing
        self._signing = Signing(checkpointing.signer)
        self._tree = CompactRange()
        self._signed = self._wanted = 0
        self._signed_at = time.monotonic()
        self._unsignable_until = 0.0
        self._shared, self._heard_at = False, time.monotonic()
        self._fault: AuditError | None = None
        self._retired = False
        self._unsettled = Unsettled()

    @property
    def size(self) -> int:
        return self._tree.size

    @property
    def unsigned(self) -> int:
        """Records that no stored checkpoint covers."""
        return max(0, self._tree.size - self._signed)

    @property
    def fault(self) -> AuditError | None:
        """Set for good by a failure after which nothing may be written: a failed fsync must not be tried again, for the kernel may
        have dropped the pages and report success the second time."""
        return self._fault

    @property
    def stale(self) -> bool:
        """Whether others may have appended, or the store gone away, since this node last had its turn."""
        return self._shared and time.monotonic() - self._heard_at > STALE_S

    def root(self) -> bytes:
        return self._tree.root()

    def open(self) -> None:
        """Recomputes the tree's right edge from what is stored. Raises AuditError when it is not what was committed, or when a
        checkpoint was signed for more, or for something else: then this is an old or altered copy, and must not be continued."""
        size, root = self._store.open(self._plan.signer.name, successor=self._plan.hands_over is not None)
        try:
            self._tree, self._fault = self._checked(size, root), None
        except BaseException:
            self._store.close()
            raise

    def _checked(self, size: int, root: bytes) -> CompactRange:
        kept = self._plan.directory
        published, witnessed = _newest(kept) if kept else (None, None)
        signed = [note for note in (self._store.latest_checkpoint(), published) if note is not None]
        with self._store.turn() as head:  # after the notes: by now another node may have appended, and signed for more
            size, root = head or (size, root)
            self._shared = head is not None
        tree = CompactRange(peaks(self._store, size), size)
        if tree.root() != root:
            raise AuditError(f"The ledger's {size} records do not lead to the root that was committed with them.", "audit_tree_broken")
        for note in (*signed, *([witnessed] if witnessed else ()), *(_aside(kept, self._plan.signer.name) if kept else ())):
            self._signed = max(self._signed, self._continued(size, note_checkpoint(note)))
        if signed:
            last = max(signed, key=lambda note: note_checkpoint(note).size)
            self._plan.signer.continues(last)
            if published is None or note_checkpoint(published).size < note_checkpoint(last).size:  # a crash came between
                self._publish(note_checkpoint(last), last)
        return tree

    def append(self, entries: Sequence[Entry], pruning: Sequence[int] = (), order: int | None = None) -> int:
        """The index of the first; all of them are durable when it returns. Entries must have passed `check_entry`. The sealed parts of
        the earlier records `pruning` go with the same commit: what says that they are gone is there exactly when they are. With `order`,
        the number of a turn of giving orders, nothing is written unless that turn lasts (`audit_order_overtaken`)."""
        written = self.append_new(entries, pruning, order)
        return written.there.get(0, written.first)

    def append_new(self, entries: Sequence[Entry], pruning: Sequence[int] = (), order: int | None = None) -> Written:
        """The same, of entries that may be there already because an earlier call, which ended `audit_unsettled`, did write them. They are
        not written again, and are as durable as those that are."""
        if self._fault is not None:
            raise self._fault
        beside = extras(entries, time.time_ns())
        work = _Work(entries, [leaf_hash(entry.leaf) for entry in entries], beside, pruning, order)
        try:
            return self._written(work)
        except KnownArrivalsError:
            raise
        except AuditError as error:
            self._failed(error)
            raise
        except Exception as error:
            self._fault = AuditError(f"The ledger met an unexpected {type(error).__name__} while writing.", "audit_unavailable")
            raise self._fault from error

    def _written(self, work: _Work) -> Written:
        for _ in range(ATTEMPTS):
            try:
                written = self._attempt(work)
            except AuditError as error:
                if error.code != WRITE_AGAIN:
                    raise
                continue
            if written is not None:
                return written
        raise AuditError(f"The ledger's store was lost {ATTEMPTS} times while records were written.", STORE_UNAVAILABLE)

    def _attempt(self, work: _Work) -> Written | None:
        """None when this node was so far behind that it gave up its turn to read on."""
        with self._store.turn() as head:
            if head is None or head[0] - self._tree.size <= FAR:
                if work.order is not None:
                    self._store.check_order(work.order)
                tree = self._following(head)
                settled = self._unsettled.there(self._store, tree.size)
                there = places(settled, work.hashes)
                first = self._commit(tree, work.without(there) if there else work, there)
                self._unsettled.settle(settled)
                return Written(first, there)
        self._tree = self._following(head)
        return None

    def _commit(self, tree: CompactRange, work: _Work, there: Mapping[int, int]) -> int:
        """In a turn: `tree` is all that stands, and becomes this node's once it has grown by these entries. Their places are those not in
        `there`."""
        if work.beside is not None and (known := self._known(work.entries, work.beside, there)):
            if self._shared:  # a server that takes over may lack what was seen here, unless this very turn commits
                self._store.write(tree.size, (), (), (), tree.root(), ())
                self._tree, self._heard_at = tree, time.monotonic()
            raise KnownArrivalsError(known)
        first, nodes = tree.size, list[Node]()
        rows, hashes = self._permitted([(entry.leaf, entry.sealed, entry.key_id) for entry in work.entries], work.hashes)
        for hashed in hashes:
            tree.append(hashed, lambda level, index, node: nodes.append((level, index, node)) if level % STRIDE == 0 else None)
        try:
            self._store.write(first, rows, hashes, nodes, tree.root(), work.pruning, work.beside)
        except AuditError as error:
            if error.code == UNSETTLED:
                self._unsettled.add(first, work.hashes, hashes)
            raise
        self._tree, self._heard_at = tree, time.monotonic()
        return first

    def _known(self, entries: Sequence[Entry], beside: Extras, there: Mapping[int, int]) -> list[int]:
        """Places of entries whose event is another record's. They are counted with those that are `there`, as they came."""
        if not beside.arrivals:
            return []
        known = known_places(entries, self._store.known([arrival.key for arrival in beside.arrivals]))
        if not (known and there):
            return known
        given = [place for place in range(len(entries) + len(there)) if place not in there]
        return [given[place] for place in known]

    def deliveries(self, work: Callable[[LedgerStore], T]) -> T:
        """What lies beside the records; `work` calls one method of the store. Raises AuditError."""
        if self._fault is not None:
            raise self._fault
        try:
            return work(self._store)
        except AuditError as error:
            self._failed(error)
            raise

    def _permitted(self, rows: Sequence[Row], hashes: Sequence[bytes]) -> tuple[Sequence[Row], Sequence[bytes]]:
        """What somebody sealed under a key that was destroyed meanwhile is written without its personal part."""
        key_ids = {key_id for _, _, key_id in rows if key_id}
        barred = self._store.barred(sorted(key_ids)) if key_ids else ()
        if not barred:
            return rows, hashes
        kept = [(withheld(leaf), b"", "") if key_id in barred else (leaf, sealed, key_id) for leaf, sealed, key_id in rows]
        return kept, [leaf_hash(leaf) for leaf, _, _ in kept]

    def bar(self, key_id: str) -> None:
        """When this returns no node's record is sealed under this key any more: what comes under it loses its personal part. Raises
        AuditError, after which it may or may not be so."""
        if self._fault is not None:
            raise self._fault
        try:
            self._store.bar(key_id)
        except AuditError as error:
            self._failed(error)
            raise

    def bar_again(self, key_ids: Sequence[str]) -> None:
        """What a process of before sealed under keys that were destroyed since loses its personal part as well, if it is recorded now.
        Raises AuditError, as `bar`."""
        if self._fault is not None:
            raise self._fault
        try:
            self._store.bar_again(key_ids)
        except AuditError as error:
            self._failed(error)
            raise

    def _following(self, head: tuple[int, bytes] | None) -> CompactRange:
        """This node's tree, grown by what others appended. So no node ever goes on from, or signs, what does not contain all that it has
        seen committed, whatever the store says."""
        tree = self._tree.copy()
        if head is None:
            return tree
        size, root = head
        if size < tree.size:
            raise AuditError(
                f"The store holds {size} records, but {tree.size} were seen committed: it is an old copy.", "audit_rolled_back"
            )
        while tree.size < size:
            end = min(size, tree.size + FAR)
            for hashed in stored_hashes(self._store, 0, tree.size, end):
                tree.append(hashed)
        if tree.root() != root:
            raise AuditError(f"The store's {size} records do not continue the {self._tree.size} seen before.", "audit_tree_broken")
        return tree

    def until_checkpoint(self) -> float | None:
        """Seconds until a checkpoint is due, 0 when it is now, None while nothing is unsigned."""
        if not self.unsigned or self._fault is not None or self._retired:
            return None
        now = time.monotonic()
        at_once = self.unsigned >= self._plan.records or self._signed < self._wanted
        due = now if at_once else self._signed_at + self._plan.every
        return self._signing.due(max(0.0, due - now, self._unsignable_until - now))

    def sign_checkpoint(self, *, wait: bool = False) -> bool:
        """Whether one was stored, which none is while nothing is unsigned. Only ever over committed records: a crash before this one loses
        a checkpoint, never the other way round. A directory that cannot be written to is logged, not fatal: the records are safe, and the
        next checkpoint says more than the lost one. Another note of this size in it is fatal, for somebody signed that. A signature that
        has to be waited for is begun, and kept when this is called again after `until_checkpoint`."""
        if not self.unsigned:
            return False
        signed = self._signing.note(Checkpoint(self._plan.signer.name, self._tree.size, self._tree.root()), wait=wait)
        if signed is None:
            return False
        checkpoint, note = signed
        self._signed_at = time.monotonic()
        try:
            if self._plan.hands_over is None:
                self._store.write_checkpoint(checkpoint.size, note, time.time_ns())
            else:
                self._store.write_hand_over(checkpoint.size, note, time.time_ns(), self._plan.hands_over.old)
        except AuditError as error:
            self._retired = error.code == KEY_RETIRED
            self._failed(error)
            self._unsignable_until = self._signed_at + RETRY_S
            _LOG.error("audit checkpoint not stored: %s", error)
            return False
        self._signed = checkpoint.size
        self._publish(checkpoint, note)
        return True

    def sign_up_to(self, size: int) -> float | None:
        """A checkpoint over so many of the records that are here is due from now on until it is signed, which it is at once where no
        signature has to be waited for. Seconds until asking again may tell more; None once it is signed, or where this node signs none."""
        self._wanted = max(self._wanted, min(size, self._tree.size))
        if self.until_checkpoint() == 0.0:
            self.sign_checkpoint()
        return self.until_checkpoint() if self._signed < self._wanted else None

    def close(self) -> None:
        while self.until_checkpoint() is not None and self.sign_checkpoint(wait=True):
            continue  # it may have been under way for fewer records
        self._store.close()

    def abandon(self) -> None:
        """Closes without signing anything."""
        self._store.close()

    def _publish(self, checkpoint: Checkpoint, note: str) -> None:
        if self._plan.directory is not None:
            try:
                publish(self._plan.directory, checkpoint, note)
            except OSError as error:
                _LOG.error("audit checkpoint not written to %s: %s", self._plan.directory, error.strerror)
            except AuditError as error:
                self._failed(error)
                _LOG.error("audit checkpoint not published in %s: %s", self._plan.directory, error)
        if self._plan.signed is not None:
            self._plan.signed()

    def keep_cosigned(self, note: str) -> None:
        """A checkpoint that was signed here, with cosignatures: takes the place of the one without. Raises AuditError when it could not be
        stored."""
        if self._fault is not None:
            raise self._fault
        try:
            self._store.write_cosigned(note_checkpoint(note).size, note, time.time_ns())
        except AuditError as error:
            self._failed(error)
            raise

    def publish_cosigned(self, note: str, *, witnessed: bool) -> None:
        """The same in the directory, on any thread. Where it is `witnessed`, by a quorum, the directory says so. What cannot be written is
        logged, as a checkpoint's own file is. Raises AuditError where the directory says something else."""
        if self._plan.directory is None:
            return
        try:
            publish(self._plan.directory, note_checkpoint(note), note)
            if witnessed:
                write_note(self._plan.directory / WITNESSED, note)
        except OSError as error:
            _LOG.error("cosigned checkpoint not written to %s: %s", self._plan.directory, error.strerror)

    def _continued(self, size: int, checkpoint: Checkpoint) -> int:
        if checkpoint.origin != (own := self._plan.signer.name):
            message = f"A checkpoint of {checkpoint.origin} lies where those of {own} belong; give each ledger its own directory."
            raise AuditError(message, "checkpoint_invalid")
        if checkpoint.size > size:
            raise AuditError(
                f"A checkpoint was signed for {checkpoint.size} records, but the ledger holds {size}: it was cut or is an old copy.",
                "audit_rolled_back",
            )
        if tree_root(self._store, checkpoint.size) != checkpoint.root:
            raise AuditError(f"The first {checkpoint.size} records are not those that a checkpoint was signed for.", "audit_tree_broken")
        return checkpoint.size

    def _failed(self, error: AuditError) -> None:
        if error.code not in PASSING and error.code not in HARMLESS:
            self._fault = error


def _newest(directory: Path) -> tuple[str | None, str | None]:
    """The one of the largest tree that was published, and that was witnessed. Raises AuditError: what cannot be read may say more than
    there is."""
    try:
        return latest_published(directory), latest_witnessed(directory)
    except OSError as error:
        message = f"The checkpoints in {directory} cannot be read, and the ledger is not held against them: {error.strerror}."
        raise AuditError(message, "checkpoint_invalid") from error


def _aside(directory: Path, origin: str) -> Iterator[str]:
    """The newest of this ledger's, put aside by somebody who was to begin one after it and was broken off. What cannot be read there is, as
    far as is known, another's."""
    for folder in put_aside(directory):
        for newest in (latest_published, latest_witnessed):
            with suppress(AuditError, OSError):
                note = newest(folder)
                if note is not None and is_of(note, origin):
                    yield note


def check_entry(entry: Entry) -> None:
    """The cheap check before a record may wait for its commit. Raises AuditError `audit_record_invalid`."""
    leaf = entry.leaf
    if not 2 <= len(leaf) <= MAX_LEAF_BYTES or leaf[0] != 0x7B or leaf[-1] != 0x7D:
        raise AuditError(f"A record of {len(leaf)} bytes is not a JSON object of at most {MAX_LEAF_BYTES} bytes.", "audit_record_invalid")
