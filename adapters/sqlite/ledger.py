"""A ledger's bytes in one SQLite file: WAL, `synchronous=FULL`, one writer. Readers may come at any time and never stand in its way."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Any

from adapters.sqlite import deliveries
from adapters.sqlite.connection import DISK_FULL, IO_FAILED, Connect, Connection, connect, private_file
from adapters.sqlite.migrations import Steps, migrate
from router.audit.beside import Extras, Pending, Waiting
from router.audit.tree.checkpoint import fuller
from router.errors import AuditError
from router.ports import Delivery

STEPS: Steps = {
    1: (
        "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE IF NOT EXISTS records (idx INTEGER PRIMARY KEY, leaf BLOB NOT NULL, sealed BLOB NOT NULL, key_id TEXT NOT NULL)",
        # Apart from the records: a proof reads 256 of them together, and who moves records about must move these too.
        "CREATE TABLE IF NOT EXISTS leaf_hashes (idx INTEGER PRIMARY KEY, hash BLOB NOT NULL)",
        "CREATE TABLE IF NOT EXISTS nodes (level INTEGER, idx INTEGER, hash BLOB NOT NULL, PRIMARY KEY (level, idx)) WITHOUT ROWID",
        "CREATE TABLE IF NOT EXISTS commits (size INTEGER PRIMARY KEY, root BLOB NOT NULL)",
        "CREATE TABLE IF NOT EXISTS checkpoints (size INTEGER PRIMARY KEY, note TEXT NOT NULL, at_ns INTEGER NOT NULL)",
    ),
    2: deliveries.TABLES,
    3: deliveries.TENANTS,
}
FORMAT = max(STEPS)
COPIED = "copied"
"""The row of `meta` that says of a copy when it was made."""
NOTES = "SELECT coalesce(CAST(note AS TEXT), '') FROM checkpoints"
"""Checkpoints; one that a damaged byte made none is an empty text, which no note is."""
PRAGMAS = (
    "PRAGMA page_size=4096",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA secure_delete=ON",
    "PRAGMA wal_autocheckpoint=512",  # within a commit, which is what waits; another connection must not copy (ADR 75)
    "PRAGMA cache_size=-16384",
)
Run = Callable[..., Any]
_CHUNKS = (256, 64, 16, 4, 1)
_RECORDS = {rows: "INSERT INTO records VALUES " + ",".join(["(?,?,?,?)"] * rows) for rows in _CHUNKS}  # noqa: S608 - no value in it
_HASHES = {rows: "INSERT INTO leaf_hashes VALUES " + ",".join(["(?,?)"] * rows) for rows in _CHUNKS}  # noqa: S608 - no value in it


class SqliteStore:
    """Implements the store that `router.audit.journal` describes. Blocking; used from one thread at a time."""

    def __init__(self, path: Path, connect: Connect = connect, steps: Steps = STEPS) -> None:
        self._path = path
        self._connect = connect
        self._steps = steps
        self._connection: Connection | None = None
        self._lock: int | None = None
        self._barred = set[str]()

    def open(self, origin: str, *, successor: bool = False) -> tuple[int, bytes]:
        try:
            self.migrate()
            self._settle()
            self._check_meta(origin)
            return self._committed()
        except AuditError:
            self.close()
            raise

    def _settle(self) -> None:
        """What an earlier process left in the WAL is durable before anything builds on it: copied to the file, or, where somebody reads
        what is older and it cannot be, synced with a commit of its own behind it."""
        ((busy, *_),) = self._open.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if busy:
            self._open.execute("UPDATE meta SET value = value WHERE name = 'format'")

    def migrate(self) -> int:
        """Takes the file and brings it to the newest format; `close` gives it back. Returns the format that it had."""
        self._lock = locked(self._path)
        private_file(self._path)
        self._connection = self._connect(self._path)
        for statement in PRAGMAS:
            self._connection.execute(statement)
        return migrate(self._connection, self._path, self._steps)

    def turn(self) -> AbstractContextManager[None]:
        """The lock on the file keeps everybody else away anyhow."""
        return nullcontext()

    def write(
        self,
        first: int,
        rows: Sequence[tuple[bytes, bytes, str]],
        hashes: Sequence[bytes],
        nodes: Sequence[tuple[int, int, bytes]],
        root: bytes,
        pruning: Sequence[int],
        beside: Extras | None = None,
    ) -> None:
        with self._transaction() as run:
            for start, count in _chunked(len(pruning)):
                _prune(run, pruning[start : start + count])
            _insert(run, first, rows, hashes, nodes, root)
            if beside is not None:
                deliveries.write(run, beside)

    def known(self, keys: Sequence[bytes]) -> set[bytes]:
        return deliveries.known(self._open.execute, keys)

    def answer(self, key: bytes) -> bytes | None:
        return deliveries.answer(self._open.execute, key)

    def lease(self, owner: str, now_ns: int, until_ns: int, limit: int) -> list[Delivery]:
        with self._transaction() as run:
            return deliveries.lease(run, owner, now_ns, until_ns, limit)

    def renew(self, owner: str, ids: Sequence[str], until_ns: int) -> list[str]:
        with self._transaction() as run:
            return deliveries.renew(run, owner, ids, until_ns)

    def postpone(self, owner: str, delivery_id: str, attempts: int, due_ns: int, reason: str) -> bool:
        return deliveries.postpone(self._open.execute, owner, delivery_id, attempts, due_ns, reason)

    def done(self, owner: str, delivery_id: str) -> bool:
        return deliveries.done(self._open.execute, owner, delivery_id)

    def pending(self) -> Pending:
        return deliveries.pending(self._open.execute)

    def waiting(self, after: int, limit: int, dead: bool | None, tenant: str | None = None) -> list[Waiting]:
        return deliveries.page(self._open.execute, after, limit, dead=dead, tenant=tenant)

    def delivery(self, delivery_id: str) -> Waiting | None:
        return deliveries.one(self._open.execute, delivery_id)

    def revive(self, delivery_id: str, now_ns: int, until_ns: int) -> bool:
        return deliveries.revive(self._open.execute, delivery_id, now_ns, until_ns)

    def drop(self, delivery_id: str) -> bool:
        return deliveries.drop(self._open.execute, delivery_id)

    def drop_sealed(self, key_id: str) -> int:
        return deliveries.drop_sealed(self._open.execute, key_id)

    def rename_lanes(self, lane: Callable[[bytes], bytes]) -> int:
        told = deliveries.told_lanes(self._open.execute)
        if told:
            with self._transaction() as run:
                for number, order in told:
                    run("UPDATE deliveries SET lane = ? WHERE number = ?", (lane(order), number))
        return len(told)

    def forget(self, before_ns: int, limit: int) -> int:
        return deliveries.forget(self._open.execute, before_ns, limit)

    def nodes(self, level: int, start: int, end: int) -> list[bytes]:
        return stored_nodes(self._open, level, start, end)

    def latest_checkpoint(self) -> str | None:
        found = self._open.execute(f"{NOTES} ORDER BY size DESC LIMIT 1")
        return found[0][0] if found else None

    def write_checkpoint(self, size: int, note: str, at_ns: int) -> None:
        """One that is there already stays where it has more signatures."""
        for (kept,) in self._open.execute(f"{NOTES} WHERE size = ?", (size,)):
            if fuller(kept, note) != note:
                return
        with self._transaction() as run:
            run("INSERT OR REPLACE INTO checkpoints VALUES (?,?,?)", (size, note, at_ns))

    def write_hand_over(self, size: int, note: str, at_ns: int, old: str | None) -> None:
        """Nobody else signs here, and whose turn it is the last checkpoint tells."""
        self.write_checkpoint(size, note, at_ns)

    def write_cosigned(self, size: int, note: str, at_ns: int) -> None:
        self.write_checkpoint(size, note, at_ns)

    def bar(self, key_id: str) -> None:
        """In memory: whoever may still seal under it ends with this process. What one of before sealed is barred again at its start."""
        self._barred.add(key_id)

    def bar_again(self, key_ids: Sequence[str]) -> None:
        self._barred.update(key_ids)

    def barred(self, key_ids: Sequence[str]) -> set[str]:
        return self._barred.intersection(key_ids)

    def check_order(self, order: int) -> None:
        """Nobody else gives orders here."""

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def _open(self) -> Connection:
        if self._connection is None:
            raise AuditError(f"The ledger {self._path} is not open.", "audit_closed")
        return self._connection

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        """A full disk rolls back and may be tried again; after anything else, a failed rollback included, the file is not trusted."""
        run = self._open.execute
        run("BEGIN IMMEDIATE")
        try:
            yield run
            run("COMMIT")
        except AuditError as error:
            if error.code == DISK_FULL:
                self._roll_back()
            raise

    def _roll_back(self) -> None:
        """SQLite may already have rolled back by itself; then this says so with an error that means nothing."""
        try:
            self._open.execute("ROLLBACK")
        except AuditError as error:
            if "no transaction" not in str(error):
                raise AuditError(str(error), IO_FAILED) from error

    def _check_meta(self, origin: str) -> None:
        run = self._open.execute
        run("INSERT OR IGNORE INTO meta VALUES ('origin', ?)", (origin,))
        meta = dict(run("SELECT name, value FROM meta"))
        if meta["origin"] != origin:
            raise AuditError(
                f"{self._path} is the ledger of {meta['origin']}, not of {origin}. To go on with it, set 'audit.origin' back; "
                "to begin a new one after it, run `lockgate audit recover`.",
                "audit_origin_changed",
            )
        if COPIED in meta:
            message = (
                f"{self._path} is a backup's copy of {meta[COPIED]}: what was signed for since would be signed for anew, and otherwise."
            )
            raise AuditError(f"{message} Begin a new ledger after it (`lockgate audit recover`).", "audit_backup_copy")

    def _committed(self) -> tuple[int, bytes]:
        size, root = last_commit(self._open)
        last = self._open.execute("SELECT coalesce(max(idx) + 1, 0) FROM records")[0][0]
        if size != last:
            raise AuditError(f"{self._path} holds records up to {last} but commits up to {size}.", "audit_tree_broken")
        return size, root


def _insert(
    run: Run,
    first: int,
    rows: Sequence[tuple[bytes, bytes, str]],
    hashes: Sequence[bytes],
    nodes: Sequence[tuple[int, int, bytes]],
    root: bytes,
) -> None:
    for start, count in _chunked(len(rows)):
        places = range(start, start + count)
        run(_RECORDS[count], [*chain.from_iterable((first + at, *rows[at]) for at in places)])
        run(_HASHES[count], [*chain.from_iterable((first + at, hashes[at]) for at in places)])
    for node in nodes:
        run("INSERT INTO nodes VALUES (?,?,?)", node)
    run("INSERT OR REPLACE INTO commits VALUES (?,?)", (first + len(rows), root))


def _prune(run: Run, places: Sequence[int]) -> None:
    """Rows are taken out and put back: where they are only made smaller, SQLite leaves their pages half empty for ever."""
    marks = ",".join("?" * len(places))
    kept = run(f"SELECT idx, leaf, key_id FROM records WHERE idx IN ({marks}) ORDER BY idx", places)  # noqa: S608 - marks only
    run(f"DELETE FROM records WHERE idx IN ({marks})", places)  # noqa: S608 - marks only
    run(_RECORDS[len(kept)], [*chain.from_iterable((idx, leaf, b"", key_id) for idx, leaf, key_id in kept)])


def last_commit(connection: Connection) -> tuple[int, bytes]:
    found = connection.execute("SELECT size, root FROM commits ORDER BY size DESC LIMIT 1")
    return found[0] if found else (0, _EMPTY_ROOT)


_HASH = "SELECT coalesce(CAST(hash AS BLOB), x'')"
"""One that a damaged byte made none is empty, which no hash is."""


def stored_nodes(connection: Connection, level: int, start: int, end: int) -> list[bytes]:
    if level == 0:
        found = connection.execute(f"{_HASH} FROM leaf_hashes WHERE idx >= ? AND idx < ? ORDER BY idx", (start, end))
    else:
        found = connection.execute(f"{_HASH} FROM nodes WHERE level = ? AND idx >= ? AND idx < ? ORDER BY idx", (level, start, end))
    return [row[0] for row in found]


_EMPTY_ROOT = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")


def _chunked(count: int) -> Iterator[tuple[int, int]]:
    """(start, rows) of statements that together insert `count` rows. Each is one step into SQLite, and so gives up the interpreter
    lock once instead of once a row; a busy event loop would make us wait for it every time."""
    start = 0
    for rows in _CHUNKS:
        while count - start >= rows:
            yield start, rows
            start += rows


def locked(path: Path) -> int:
    """A handle that holds the writer's lock until it is closed. Raises AuditError `audit_locked` where another process has it."""
    lock = path.with_name(path.name + ".lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise AuditError(f"{lock} cannot be made: {error.strerror}.", IO_FAILED) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise AuditError(f"The ledger {path} is already open in another process.", "audit_locked") from error
    return handle
