"""The little of a SQLite connection that the ledger, the subjects' keys and the index need, with errors in our words.

Behind this facade lies the standard library; tests put another driver there, whose file system loses what was not synced.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from errno import EACCES, EMFILE, ENFILE
from pathlib import Path
from typing import Any, Protocol

from router.durable import sync_folder
from router.errors import AuditError

DISK_FULL = "audit_disk_full"
IO_FAILED = "audit_io_failed"

BUSY_S = 10.0
"""How long one waits for what another connection is doing."""
_FULL = 13  # SQLITE_FULL
_IO = 10  # SQLITE_IOERR
_LITTLE = 1 << 20  # bytes
_NOT_OPENED = (8, 14)  # SQLITE_READONLY, SQLITE_CANTOPEN
_WANTED = 3  # descriptors: of the file, its log, and their shared memory
_FAILURES = (sqlite3.Error, UnicodeDecodeError)  # the second for what SQLite says of a file whose very schema is damaged


class Connection(Protocol):
    """Autocommit; transactions are opened in SQL. Raises AuditError, `audit_disk_full` where room may come back."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows, as tuples."""

    def close(self) -> None: ...


Connect = Callable[[Path], Connection]


class StandardConnection:
    def __init__(self, path: Path, mode: str = "rwc") -> None:
        self._path = path
        try:
            target = f"{path.absolute().as_uri()}?mode={mode}"
            self._raw = sqlite3.connect(
                target, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_S, cached_statements=64
            )
        except sqlite3.Error as error:
            raise translated(path, error) from error

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._raw.execute(sql, parameters).fetchall()
        except _FAILURES as error:
            raise translated(self._path, error) from error

    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        try:
            self._raw.executemany(sql, rows)
        except _FAILURES as error:
            raise translated(self._path, error) from error

    def each(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Any]:
        """Rows one by one, for more of them than memory should hold."""
        try:
            yield from self._raw.execute(sql, parameters)
        except _FAILURES as error:
            raise translated(self._path, error) from error

    def parts(self, table: str, column: str, rowid: int, places: Sequence[int], size: int) -> list[bytes]:
        """Pieces of `size` bytes of one large value, without reading all of it."""
        try:
            with self._raw.blobopen(table, column, rowid, readonly=True) as blob:
                return [_piece(blob, place, size) for place in places]
        except _FAILURES as error:
            raise translated(self._path, error) from error

    def close(self) -> None:
        self._raw.close()


def _piece(blob: sqlite3.Blob, place: int, size: int) -> bytes:
    blob.seek(place)
    return blob.read(size)


def translated(path: Path, error: Exception) -> AuditError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    detail = f"{error}{_room_left(path)}" if code == _IO else str(error)
    return failure(path, full=code == _FULL, detail=detail)


def _room_left(path: Path) -> str:
    """Of a full disk SQLite says no more than that it failed, where it has no room for the memory that its connections share."""
    try:
        found = os.statvfs(path.parent)
    except OSError:
        return ""
    left = found.f_bavail * found.f_frsize
    return f", and the disk under it is full ({left} bytes are left)" if left < _LITTLE else ""


def is_busy(error: AuditError) -> bool:
    """Whether another connection was in the way for as long as one waits."""
    return getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def failure(path: Path, *, full: bool, detail: str) -> AuditError:
    if full:
        return AuditError(f"The disk under {path} is full; nothing was written.", DISK_FULL)
    return AuditError(f"{path} cannot be used: {detail}.", IO_FAILED)


def connect(path: Path) -> Connection:
    return StandardConnection(path)


def opened_to_read(path: Path) -> StandardConnection:
    """Neither changes the file nor copies its write-ahead log, now or when it closes. A file in WAL mode wants its shared memory beside it;
    where that cannot be made because nothing may be written nobody else writes either, and the file is read as one that never changes.
    SQLite reads no log then, so one that has a log is refused: what only the log holds would seem to be cut off."""
    try:
        return _tried(path, "ro")
    except AuditError as error:
        if getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF not in _NOT_OPENED:
            raise
        _check_descriptors(path)
        file = Path(os.path.realpath(path))  # beside which SQLite has the log, also of one that a link leads to
        if os.access(file.parent, os.W_OK):
            raise
        _check_no_log(file)
    return _tried(path, "ro&immutable=1")


def _tried(path: Path, mode: str) -> StandardConnection:
    connection = StandardConnection(path, mode)
    try:
        connection.execute("SELECT 1 FROM meta")
    except AuditError:
        connection.close()
        raise
    return connection


def _check_descriptors(path: Path) -> None:
    """SQLite does not say that it is these that it lacks. The file itself is not tried: closing it would end locks (see `private_file`)."""
    held = list[int]()
    try:
        for _ in range(_WANTED):
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        if error.errno in (EMFILE, ENFILE):
            raise AuditError(f"{path} cannot be opened: no file descriptors are left for it.", "audit_descriptors_short") from error
    finally:
        for each in held:
            os.close(each)


def _check_no_log(file: Path) -> None:
    try:
        length = os.stat(f"{file}-wal").st_size
    except FileNotFoundError:
        return
    except OSError as error:
        raise AuditError(f"{file}-wal cannot be looked at: {error.strerror}.", IO_FAILED) from error
    if length:
        told = f"{file} has a write-ahead log that cannot be read where nothing may be written; copy both files to a writable folder."
        raise AuditError(told, "audit_log_unreadable")


def refuse_missing(ledger: Path) -> None:
    """Raises AuditError `audit_missing` where there is no ledger, and another where that cannot be told."""
    try:
        found = stat.S_ISREG(ledger.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        found = False
    except OSError as error:
        told = f"{ledger} cannot be looked at: {error.strerror}. Run this as the user that Lockgate runs as."
        raise AuditError(told, IO_FAILED) from error
    if not found:
        told = (
            f"There is no ledger at {ledger}. A workspace's first `lockgate serve` makes it; where it is elsewhere, name its folder with"
            " --state, or its workspace with --config."
        )
        raise AuditError(told, "audit_missing")


def private_file(path: Path) -> None:
    """Makes the file, unreadable for others, and its directory entry durable: SQLite syncs directories for journals only. One that is
    there is not opened: closing it would end every lock that this process has on it (POSIX), and another process, which then believes
    to be alone, would take the log away from under our connections."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(EACCES, os.strerror(EACCES))
        sync_folder(path.parent)
    except OSError as error:
        raise AuditError(f"{path} cannot be written: {error.strerror}.", IO_FAILED) from error
