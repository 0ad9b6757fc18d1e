"""Copies of SQLite files that other processes write to, by SQLite's own backup.

A copy is of one moment: a reading transaction stays open for as long as it takes, or every commit would begin the copy anew. The source is
opened read-only, so its write-ahead log is never copied into it (ADR 75); meanwhile its writer cannot begin the log anew, which grows.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from adapters.sqlite.connection import DISK_FULL, StandardConnection, failure, translated
from adapters.sqlite.ledger import COPIED, last_commit, stored_nodes
from router.audit.records.canonical import timestamp
from router.errors import AuditError

ROOM = 64 * 2**20  # bytes that a copy leaves free, for its source goes on growing
LEAST = ROOM // 2  # with less than this left over it is broken off
AT_ONCE = 512  # pages, after which others get a turn with the disk, and who wants it to end is heard


def copied(source: Path, copy: Path, mark: Callable[[Path], None] | None = None) -> int:
    """Bytes. `copy` must not be there; it is readable for its owner alone, checked, and on stable storage when it returns. `mark` may
    write to it before. Raises AuditError; what was begun is left to who knows the folder."""
    _made(copy)
    try:
        with closing(_reading(source)) as there, closing(sqlite3.connect(copy, isolation_level=None)) as here:
            _check_room(there, copy)
            here.execute("PRAGMA journal_mode=OFF")
            there.backup(here, pages=AT_ONCE, progress=partial(_check_left, copy, page_size(there)))
    except sqlite3.Error as error:
        full = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
        raise translated(copy if full else source, error) from error
    if mark is not None:
        mark(copy)
    with opened(copy) as made:
        wrong = [str(row[0]) for row in made.execute("PRAGMA quick_check(1)")]
    if wrong != ["ok"]:
        raise AuditError(f"The copy of {source} is damaged, and so the file may be: {wrong[0]}.", "backup_unsound")
    return _synced(copy)


def marked(copy: Path) -> None:
    """Writes into a ledger's copy when it was made, after which no node goes on with it: nothing else tells that more was signed since.
    Raises AuditError."""
    connection = StandardConnection(copy, mode="rw")
    try:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")  # else memory is shared for the log, which a share on a network may not give
        connection.execute("PRAGMA journal_mode=DELETE")  # a log beside it would be no part of the backup
        connection.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (COPIED, timestamp(time.time_ns())))
    finally:
        connection.close()


@contextmanager
def opened(copy: Path) -> Iterator[StandardConnection]:
    """A copy that nobody writes to; no file is made beside it. Raises AuditError."""
    connection = StandardConnection(copy, mode="ro&immutable=1")
    try:
        yield connection
    finally:
        connection.close()


class CopiedLedger:
    """What a ledger's copy says of itself, for who checks it."""

    def __init__(self, connection: StandardConnection) -> None:
        self._connection = connection
        self.origin = str(dict(connection.execute("SELECT name, value FROM meta")).get("origin", ""))
        self.size, self.root = last_commit(connection)

    def nodes(self, level: int, start: int, end: int) -> list[bytes]:
        return stored_nodes(self._connection, level, start, end)


def _check_room(there: sqlite3.Connection, copy: Path) -> None:
    """Before anything is written: mostly it is the disk of a node that serves, which takes nothing more once it is full."""
    ((pages,),), size = there.execute("PRAGMA page_count").fetchall(), page_size(there)
    free = shutil.disk_usage(copy.parent).free
    if free < pages * size + ROOM:
        message = f"{copy.parent} has {free:,} bytes free, and a copy of {pages * size:,} is to leave {ROOM:,}; nothing was written."
        raise AuditError(message, DISK_FULL)


def _check_left(copy: Path, size: int, _status: int, remaining: int, _total: int) -> None:
    """Between its steps: for as long as a copy takes, the log of what it is made of grows, on the same disk mostly."""
    free = shutil.disk_usage(copy.parent).free
    if free < remaining * size + LEAST:
        left = f"{copy.parent} has {free:,} bytes free, and {remaining * size:,} of a copy are still to come"
        raise AuditError(f"{left}: it is broken off, for others write there, too.", DISK_FULL)


def page_size(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA page_size").fetchone()[0])


def _reading(source: Path) -> sqlite3.Connection:
    """In a transaction. On storage that nobody can write to, where a log's shared memory cannot be made, the file is all there is."""
    uri = source.absolute().as_uri()
    connection = sqlite3.connect(f"{uri}?mode=ro", uri=True, isolation_level=None, timeout=10.0)
    try:
        return _begun(connection)
    except sqlite3.OperationalError:
        connection.close()
        log = source.with_name(source.name + "-wal")
        if os.access(source.parent, os.W_OK) or (log.exists() and log.stat().st_size):
            raise
        return _begun(sqlite3.connect(f"{uri}?mode=ro&immutable=1", uri=True, isolation_level=None))


def _begun(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return connection


def _made(copy: Path) -> None:
    try:
        os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise failure(copy, full=False, detail=str(error.strerror)) from error


def _synced(copy: Path) -> int:
    try:
        with copy.open("rb") as file:
            os.fsync(file.fileno())
            return os.fstat(file.fileno()).st_size
    except OSError as error:
        raise failure(copy, full=False, detail=str(error.strerror)) from error
