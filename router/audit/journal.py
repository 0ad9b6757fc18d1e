"""The blocking core of the ledger: a store and the tree over it, in step. One thread at a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from router.audit.canonical import MAX_LEAF_BYTES
from router.audit.checkpoint import (
    WITNESSED,
    Checkpoint,
    NoteSigner,
    latest_published,
    latest_witnessed,
    note_checkpoint,
    publish,
    write_note,
)
from router.audit.merkle import CompactRange, leaf_hash
from router.audit.proof import STRIDE, NodeSource, peaks, tree_root
from router.errors import AuditError
from router.ports import Entry

_LOG = logging.getLogger(__name__)

Row = tuple[bytes, bytes, str]
"""(leaf, sealed part, key id)"""
Node = tuple[int, int, bytes]
"""(level, index, hash) of a complete subtree; above the leaves only every eighth level is kept."""

DISK_FULL = "audit_disk_full"


class LedgerStore(NodeSource, Protocol):
    """Where a ledger's bytes lie. Every method blocks. A failure is an AuditError: `audit_disk_full` says that nothing was written and
    room may come back; any other code says that nothing is known any more and the store must be opened anew."""

    def open(self, origin: str) -> tuple[int, bytes]:
        """(size, root) after the last commit. Refuses a second writer, and a file that was made for another origin."""

    def write(self, first: int, rows: Sequence[Row], hashes: Sequence[bytes], nodes: Sequence[Node], root: bytes) -> None:
        """One transaction, on stable storage when it returns. `root` is that of the tree of `first + len(rows)` leaves."""

    def latest_checkpoint(self) -> str | None: ...

    def write_checkpoint(self, size: int, note: str, at_ns: int) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Checkpointing:
    """A checkpoint is signed when `records` came since the last one, or one came and `every` seconds passed, and on close. `signed` is
    then called, on the ledger's thread."""

    signer: NoteSigner
    directory: Path | None = None
    every: float = 60.0
    records: int = 1000
    signed: Callable[[], None] | None = None


class Journal:
    def __init__(self, store: LedgerStore, checkpointing: Checkpointing) -> None:
        self._store = store
        self._plan = checkpointing
        self._tree = CompactRange()
        self._signed = 0
        self._signed_at = time.monotonic()
        self._fault: AuditError | None = None

    @property
    def size(self) -> int:
        return self._tree.size

    @property
    def fault(self) -> AuditError | None:
        """Set for good by a failure after which nothing may be written: a failed fsync must not be tried again, for the kernel may
        have dropped the pages and report success the second time."""
        return self._fault

    def root(self) -> bytes:
        return self._tree.root()

    def open(self) -> None:
        """Recomputes the tree's right edge from what is stored. Raises AuditError when it is not what was committed, or when a
        checkpoint was signed for more, or for something else: then this is an old or altered copy, and must not be continued."""
        size, root = self._store.open(self._plan.signer.name)
        tree = CompactRange(peaks(self._store, size), size)
        if tree.root() != root:
            raise AuditError(f"The ledger's {size} records do not lead to the root that was committed with them.", "audit_tree_broken")
        kept = self._plan.directory
        for note in (self._store.latest_checkpoint(), *((latest_published(kept), latest_witnessed(kept)) if kept else ())):
            if note is not None:
                self._signed = max(self._signed, self._continued(size, note_checkpoint(note)))
        self._tree, self._fault = tree, None

    def append(self, entries: Sequence[Entry]) -> int:
        """The index of the first; all of them are durable when it returns. Entries must have passed `check_entry`."""
        if self._fault is not None:
            raise self._fault
        tree, nodes, first = self._tree.copy(), list[Node](), self._tree.size
        rows = [(entry.leaf, entry.sealed, entry.key_id) for entry in entries]
        hashes = [leaf_hash(entry.leaf) for entry in entries]
        for hashed in hashes:
            tree.append(hashed, lambda level, index, node: nodes.append((level, index, node)) if level % STRIDE == 0 else None)
        try:
            self._store.write(first, rows, hashes, nodes, tree.root())
        except AuditError as error:
            self._failed(error)
            raise
        except Exception as error:
            self._fault = AuditError(f"The ledger met an unexpected {type(error).__name__} while writing.", "audit_unavailable")
            raise self._fault from error
        self._tree = tree
        return first

    def until_checkpoint(self) -> float | None:
        """Seconds until a checkpoint is due, 0 when it is now, None while nothing is unsigned."""
        unsigned = self._tree.size - self._signed
        if unsigned <= 0 or self._fault is not None:
            return None
        return 0.0 if unsigned >= self._plan.records else max(0.0, self._signed_at + self._plan.every - time.monotonic())

    def sign_checkpoint(self) -> None:
        """Only ever over committed records: a crash before this one loses a checkpoint, never the other way round. A directory that
        cannot be written to is logged, not fatal: the records are safe, and the next checkpoint says more than the lost one."""
        checkpoint = Checkpoint(self._plan.signer.name, self._tree.size, self._tree.root())
        note = self._plan.signer.sign(checkpoint.text())
        self._signed_at = time.monotonic()
        try:
            self._store.write_checkpoint(checkpoint.size, note, time.time_ns())
        except AuditError as error:
            self._failed(error)
            _LOG.error("audit checkpoint not stored: %s", error)
            return
        self._signed = checkpoint.size
        if self._plan.directory is not None:
            try:
                publish(self._plan.directory, checkpoint, note)
            except OSError as error:
                _LOG.error("audit checkpoint not written to %s: %s", self._plan.directory, error.strerror)
        if self._plan.signed is not None:
            self._plan.signed()

    def keep_cosigned(self, note: str) -> None:
        """A checkpoint that was signed here, with cosignatures: takes the place of the one without. Raises AuditError when it could not be
        stored."""
        if self._fault is not None:
            raise self._fault
        try:
            self._store.write_checkpoint(note_checkpoint(note).size, note, time.time_ns())
        except AuditError as error:
            self._failed(error)
            raise

    def publish_cosigned(self, note: str, *, witnessed: bool) -> None:
        """The same in the directory, on any thread. Where it is `witnessed`, by a quorum, the directory says so. What cannot be written is
        logged, as a checkpoint's own file is."""
        if self._plan.directory is None:
            return
        try:
            publish(self._plan.directory, note_checkpoint(note), note)
            if witnessed:
                write_note(self._plan.directory / WITNESSED, note)
        except OSError as error:
            _LOG.error("cosigned checkpoint not written to %s: %s", self._plan.directory, error.strerror)

    def close(self) -> None:
        if self.until_checkpoint() is not None:
            self.sign_checkpoint()
        self._store.close()

    def abandon(self) -> None:
        """Closes without signing anything."""
        self._store.close()

    def _continued(self, size: int, checkpoint: Checkpoint) -> int:
        if checkpoint.size > size:
            raise AuditError(
                f"A checkpoint was signed for {checkpoint.size} records, but the ledger holds {size}: it was cut or is an old copy.",
                "audit_rolled_back",
            )
        if tree_root(self._store, checkpoint.size) != checkpoint.root:
            raise AuditError(f"The first {checkpoint.size} records are not those that a checkpoint was signed for.", "audit_tree_broken")
        return checkpoint.size

    def _failed(self, error: AuditError) -> None:
        if error.code != DISK_FULL:
            self._fault = error


def check_entry(entry: Entry) -> None:
    """The cheap check before a record may wait for its commit. Raises AuditError `audit_record_invalid`."""
    leaf = entry.leaf
    if not 2 <= len(leaf) <= MAX_LEAF_BYTES or leaf[0] != 0x7B or leaf[-1] != 0x7D:
        raise AuditError(f"A record of {len(leaf)} bytes is not a JSON object of at most {MAX_LEAF_BYTES} bytes.", "audit_record_invalid")
