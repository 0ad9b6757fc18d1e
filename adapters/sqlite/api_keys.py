"""API keys in an SQLite file that several processes share. Root of trust is the file: who can write it can make keys."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from adapters.kept_api_keys import COLUMNS, key_from, row_of
from router.errors import StateError
from router.ports import ApiKey, Clock

SCHEMA_VERSION = 1
SCHEMA = """CREATE TABLE IF NOT EXISTS api_keys (
  id TEXT PRIMARY KEY, digest BLOB NOT NULL, name TEXT NOT NULL, subject TEXT NOT NULL, scopes TEXT NOT NULL,
  created_ns INTEGER NOT NULL, created_by TEXT NOT NULL, expires_ns INTEGER, revoked_ns INTEGER
) STRICT"""
NOTICE_NS = 1_000_000_000
CACHED = 10_000
WRITABLE_BY_OTHERS = 0o002
WRITABLE_BY_GROUP = 0o020


class SqliteApiKeys:
    """Belongs to one event loop. `find` answers from memory; once a second it asks SQLite whether another process wrote."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._database: sqlite3.Connection | None = None
        self._cache: dict[str, ApiKey] = {}
        self._version = -1
        self._notice_at = 0

    def open(self) -> None:
        with _translated():
            make_private(self._path)
            # One thread at a time uses it; a test client's loop runs in another thread than its maker.
            database = sqlite3.connect(self._path, timeout=5, isolation_level=None, check_same_thread=False)
            try:
                _prepare(database, self._path)
            except BaseException:
                database.close()
                raise
        self._database = database

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
        self._cache.clear()

    def ping(self) -> None:
        with _translated():
            self._connection().execute("SELECT 1 FROM api_keys LIMIT 1").fetchall()

    def find(self, key_id: str) -> ApiKey | None:
        now = self._clock.monotonic_ns()
        if now >= self._notice_at:
            self._notice(now)
        return self._cache.get(key_id) or self._load(key_id)

    def add(self, key: ApiKey) -> bool:
        with _translated():
            statement = f"INSERT INTO api_keys ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"  # noqa: S608  # a constant
            return self._connection().execute(statement, row_of(key)).rowcount == 1

    def revoke(self, key_id: str, now_ns: int) -> bool:
        with _translated():
            statement = "UPDATE api_keys SET revoked_ns = COALESCE(revoked_ns, ?) WHERE id = ?"
            changed = self._connection().execute(statement, (now_ns, key_id)).rowcount == 1
        # `data_version` tells of other connections' writes only.
        self._cache.pop(key_id, None)
        return changed

    def all(self) -> Sequence[ApiKey]:
        with _translated():
            rows = self._connection().execute(f"SELECT {COLUMNS} FROM api_keys ORDER BY created_ns, rowid")  # noqa: S608  # a constant
            return [key_from(row) for row in rows]

    def _notice(self, now: int) -> None:
        with _translated():
            (version,) = self._connection().execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._cache.clear()
            self._version = version
        self._notice_at = now + NOTICE_NS

    def _load(self, key_id: str) -> ApiKey | None:
        with _translated():
            row = self._connection().execute(f"SELECT {COLUMNS} FROM api_keys WHERE id = ?", (key_id,)).fetchone()  # noqa: S608 - names of ours
            key = key_from(row) if row is not None else None
        if key is not None:
            if len(self._cache) >= CACHED:
                self._cache.clear()
            self._cache[key_id] = key
        return key

    def _connection(self) -> sqlite3.Connection:
        if self._database is None:
            raise StateError("the key store is not open")
        return self._database


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError, ValueError, KeyError) as error:
        raise StateError(f"the key store does not answer: {error}") from error


def make_private(path: Path) -> None:
    """Makes what is missing with 0700 and 0600 (SQLite gives its -wal and -shm files the same mode); refuses what others can write.
    A directory's group may write: volumes are mounted so."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.parent.stat().st_mode & WRITABLE_BY_OTHERS:
        raise StateError(f"{path.parent} can be written by everybody; run `chmod o-w {path.parent}`")
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    if path.stat().st_mode & (WRITABLE_BY_OTHERS | WRITABLE_BY_GROUP):
        raise StateError(f"{path} can be written by others; run `chmod 600 {path}`")


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    if database.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise StateError(f"{path} was written by a newer Lockgate (schema {version}, this one knows {SCHEMA_VERSION})")
    if version < SCHEMA_VERSION:
        database.execute(SCHEMA)
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
