"""Every subject's own key in a file that is not part of a ledger backup."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from adapters.sqlite.connection import IO_FAILED, Connect, Connection, connect, opened_to_read, private_file
from adapters.sqlite.migrations import Steps, check_known, migrate
from router.audit.keys.comparing import Compared
from router.audit.keys.store import SubjectKey, SubjectKeyStore
from router.errors import AuditError

PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA secure_delete=ON",
    "PRAGMA busy_timeout=10000",
)
STEPS: Steps = {
    1: (
        "CREATE TABLE IF NOT EXISTS keys (subject BLOB PRIMARY KEY, key_id TEXT NOT NULL UNIQUE, wrapped BLOB NOT NULL,"
        " created_ns INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    ),
    2: (
        "CREATE TABLE destroyed (number INTEGER PRIMARY KEY, key_id TEXT NOT NULL UNIQUE)",
        # One row: up to where of which ledger its erasures were looked after here.
        "CREATE TABLE compared (number INTEGER PRIMARY KEY, origin TEXT NOT NULL, size INTEGER NOT NULL, leaf BLOB NOT NULL)",
    ),
}
_TOLD = "INSERT OR IGNORE INTO destroyed (key_id) VALUES (?)"


class KeyFile(SubjectKeyStore):
    """Of the one process that makes and destroys keys; others read beside it (`open_to_read`)."""

    def __init__(self, path: Path, sealing_key: bytes, connect: Connect = connect, steps: Steps = STEPS) -> None:
        super().__init__(sealing_key, str(path))
        self._path = path
        self._steps = steps
        self._is_open = False
        self._connection: Connection | None = None
        self._opening: Callable[[], Connection] = partial(prepared, path, connect, steps)
        self._one_at_a_time = threading.RLock()

    def open(self) -> None:
        private_file(self._path)
        self._is_open = True
        try:
            self._connection = self._opening()
            self._check_sealing_key()
        except AuditError:
            self.close()
            raise

    def open_to_read(self) -> None:
        """For who only asks, beside the process that makes and destroys keys: nothing is made or changed. Raises AuditError."""
        self._opening = partial(opened_to_read, self._path)
        self._is_open = True
        try:
            self._connection = self._opening()
            check_known(self._connection, self._path, max(self._steps))
            self._check_sealing_key(make=False)
        except AuditError:
            self.close()
            raise

    def find(self, subject: str) -> str | None:
        with self._one_at_a_time:
            found = self._open.execute("SELECT key_id FROM keys WHERE subject = ?", (self._place(subject),))
        return found[0][0] if found else None

    def key(self, key_id: str) -> bytes | None:
        with self._one_at_a_time:
            found = self._open.execute("SELECT subject, wrapped FROM keys WHERE key_id = ?", (key_id,))
        return self._unwrapped(key_id, *found[0]) if found else None

    def present(self, key_ids: Sequence[str]) -> list[str]:
        with self._one_at_a_time:
            return [each for each in key_ids if self._open.execute("SELECT 1 FROM keys WHERE key_id = ?", (each,))]

    def destroy(self, *key_ids: str) -> None:
        """Neither the file nor its write-ahead log holds the keys when it returns. Raises AuditError `audit_keys_busy` while another
        process reads an older state of the file."""
        with self._one_at_a_time:
            try:
                self._open.execute("BEGIN IMMEDIATE")
                for key_id in key_ids:
                    self._open.execute("DELETE FROM keys WHERE key_id = ?", (key_id,))  # zeros its place, by secure_delete
                    self._open.execute(_TOLD, (key_id,))
                self._open.execute("COMMIT")
                ((busy, _, _),) = self._open.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except AuditError:
                self._drop()
                raise
        if busy:
            raise AuditError(f"The key is deleted but still in {self._path}-wal, for another process reads the file.", "audit_keys_busy")

    def destroyed(self) -> list[str]:
        with self._one_at_a_time:
            return [row[0] for row in self._open.execute("SELECT key_id FROM destroyed ORDER BY number")]

    def compared(self) -> Compared | None:
        with self._one_at_a_time:
            found = self._open.execute("SELECT origin, size, leaf FROM compared ORDER BY number DESC LIMIT 1")
        return Compared(*found[0]) if found else None

    def mark(self, compared: Compared) -> None:
        with self._one_at_a_time:
            self._open.execute("INSERT OR REPLACE INTO compared VALUES (1, ?, ?, ?)", (compared.origin, compared.size, compared.leaf))

    def ensure(self, subjects: Sequence[str]) -> dict[str, SubjectKey]:
        with self._one_at_a_time:
            return self._ensured(subjects)

    def _ensured(self, subjects: Sequence[str]) -> dict[str, SubjectKey]:
        known = {subject: self._read(subject) for subject in subjects}
        missing = [subject for subject, key in known.items() if key is None]
        if missing:
            self._open.execute("BEGIN IMMEDIATE")
            try:
                for subject in missing:
                    self._open.execute("INSERT OR IGNORE INTO keys VALUES (?,?,?,?)", self._fresh(subject))
                self._open.execute("COMMIT")
            except AuditError:
                self._drop()
                raise
        return {subject: key or self._present(subject) for subject, key in known.items()}

    def close(self) -> None:
        self._is_open = False
        self._drop()

    @property
    def _open(self) -> Connection:
        if not self._is_open:
            raise AuditError(f"The subjects' keys {self._path} are not open.", "audit_closed")
        if self._connection is None:
            if not self._path.is_file():  # a fresh one would give everybody a second key
                raise AuditError(f"The subjects' keys {self._path} are gone.", IO_FAILED)
            self._connection = self._opening()
        return self._connection

    def _read(self, subject: str) -> SubjectKey | None:
        place = self._place(subject)
        found = self._open.execute("SELECT key_id, wrapped FROM keys WHERE subject = ?", (place,))
        return (found[0][0], self._unwrapped(found[0][0], place, found[0][1])) if found else None

    def _present(self, subject: str) -> SubjectKey:
        key = self._read(subject)
        if key is None:
            raise AuditError("A subject's key vanished while it was made.")
        return key

    def _drop(self) -> None:
        """A transaction that could not be finished must not swallow the next one. Whoever asks next connects anew, and is told where that
        fails: closing removed the write-ahead log, and the room for another may be somebody else's by now."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _check_sealing_key(self, *, make: bool = True) -> None:
        if make:
            self._open.execute("INSERT OR IGNORE INTO meta VALUES ('check', ?)", (self._fresh_check(),))
        for (kept,) in self._open.execute("SELECT value FROM meta WHERE name = 'check'"):  # none where a start was broken off before
            self._verify_check(kept)


def prepared(path: Path, connect: Connect = connect, steps: Steps = STEPS) -> Connection:
    """The file in its newest format."""
    connection = connect(path)
    try:
        for statement in PRAGMAS:
            connection.execute(statement)
        migrate(connection, path, steps)
    except AuditError:
        connection.close()
        raise
    return connection
