"""Sessions in an SQLite file of their own: they are written at almost every request, and a write beside the API keys would make every
worker forget the keys that it knows. Root of trust is the file: who can write it can sign in."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adapters.kept_sessions import COLUMNS, FORGOTTEN, PLACES, forgotten, row_of, session_from
from adapters.sqlite.api_keys import make_private
from router.errors import StateError
from router.ports import Session, Which

SCHEMA_VERSION = 1
SCHEMA = (
    """CREATE TABLE IF NOT EXISTS sessions (
  digest BLOB PRIMARY KEY, subject_id TEXT NOT NULL, subject TEXT NOT NULL, created_ns INTEGER NOT NULL, used_ns INTEGER NOT NULL,
  expires_ns INTEGER NOT NULL, checked_ns INTEGER NOT NULL, authenticated_ns INTEGER NOT NULL, issuer TEXT NOT NULL,
  issuer_session TEXT NOT NULL, methods TEXT NOT NULL
) STRICT""",
    "CREATE INDEX IF NOT EXISTS sessions_subject ON sessions (subject_id, created_ns)",
    "CREATE TABLE IF NOT EXISTS spent (mark BLOB PRIMARY KEY, until_ns INTEGER NOT NULL) STRICT",
)
_SELECT = f"SELECT {COLUMNS} FROM sessions"  # noqa: S608  # constants here and below
_INSERT = f"INSERT INTO sessions ({COLUMNS}) VALUES ({','.join('?' * PLACES)})"  # noqa: S608 - names of ours
_FORGET = f"DELETE FROM sessions WHERE {FORGOTTEN.format('?')}"  # noqa: S608 - names of ours
_BEYOND = f"{_SELECT} WHERE subject_id = ? AND expires_ns > 0 ORDER BY digest = ? DESC, created_ns DESC, digest DESC LIMIT -1 OFFSET ?"


class SqliteSessions:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._database: sqlite3.Connection | None = None
        self._one = threading.Lock()

    def open(self) -> None:
        with _translated():
            make_private(self._path)
            database = sqlite3.connect(self._path, timeout=5, isolation_level=None, check_same_thread=False)
            try:
                _prepare(database, self._path)
            except BaseException:
                database.close()
                raise
        self._database = database

    def close(self) -> None:
        with self._one:
            if self._database is not None:
                self._database.close()
                self._database = None

    def ping(self) -> None:
        self._rows("SELECT 1 FROM sessions LIMIT 1")

    def find(self, digest: bytes) -> Session | None:
        found = self._rows(f"{_SELECT} WHERE digest = ?", (digest,))
        return found[0] if found else None

    def add(self, session: Session, most: int, instead: bytes | None = None) -> Sequence[Session]:
        with self._transaction() as database:
            database.execute(_FORGET, forgotten(session.created_ns, instead))
            database.execute(_INSERT, row_of(session))
            beyond = database.execute(_BEYOND, (session.subject.id, session.digest, most)).fetchall()
            database.executemany("DELETE FROM sessions WHERE digest = ?", [row[:1] for row in beyond])
            return [session_from(row) for row in reversed(beyond)]

    def use(self, digest: bytes, now_ns: int) -> None:
        with self._transaction() as database:
            database.execute("UPDATE sessions SET used_ns = max(used_ns, ?) WHERE digest = ?", (now_ns, digest))

    def ending(self, which: Which) -> Sequence[Session]:
        told = which.told
        if not told:
            return []
        where = " AND ".join(f"{column} = ?" for column in told)
        with self._transaction() as database:
            database.execute(f"UPDATE sessions SET expires_ns = 0 WHERE {where}", (*told.values(),))  # noqa: S608  # names of columns
            found = database.execute(f"{_SELECT} WHERE {where} ORDER BY created_ns, digest", (*told.values(),)).fetchall()
            return [session_from(row) for row in found]

    def end(self, which: Which) -> Sequence[Session]:
        told = which.told
        if not told:
            return []
        where = " AND ".join(f"{column} = ?" for column in told)
        with self._transaction() as database:
            ended = database.execute(f"{_SELECT} WHERE {where} ORDER BY created_ns, digest", (*told.values(),)).fetchall()
            database.execute(f"DELETE FROM sessions WHERE {where}", (*told.values(),))  # noqa: S608  # names of columns
            return [session_from(row) for row in ended]

    def all(self) -> Sequence[Session]:
        return self._rows(f"{_SELECT} ORDER BY created_ns, digest")

    def spent(self, mark: bytes, now_ns: int) -> bool:
        with self._one, _translated():
            found = self._connection().execute("SELECT 1 FROM spent WHERE mark = ? AND until_ns > ?", (mark, now_ns))
            return found.fetchone() is not None

    def spend(self, mark: bytes, until_ns: int, now_ns: int) -> bool:
        with self._transaction() as database:
            database.execute("DELETE FROM spent WHERE until_ns <= ?", (now_ns,))
            return database.execute("INSERT INTO spent VALUES (?, ?) ON CONFLICT DO NOTHING", (mark, until_ns)).rowcount == 1

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Session]:
        with self._one, _translated():
            found = self._connection().execute(sql, parameters).fetchall()
            return [session_from(row) for row in found if len(row) == PLACES]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._one, _translated():
            database = self._connection()
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise

    def _connection(self) -> sqlite3.Connection:
        if self._database is None:
            raise StateError("the session store is not open")
        return self._database


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError, ValueError, KeyError) as error:
        raise StateError(f"the session store does not answer: {error}") from error


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    if database.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise StateError(f"{path} was written by a newer Lockgate (schema {version}, this one knows {SCHEMA_VERSION})")
    for statement in SCHEMA if version < SCHEMA_VERSION else ():
        database.execute(statement)
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
