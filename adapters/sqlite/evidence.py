"""Which events the ledger holds as evidence: one SQLite file, derived from the ledger, that may be deleted at any time.

An event is found by a keyed hash (its mark). The key is one of the subjects' keys file, so that the file alone lets nobody guess events.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapters.sqlite.connection import StandardConnection, private_file
from router.errors import AuditError

VERSION = "1"
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS marks (mark BLOB PRIMARY KEY, idx INTEGER NOT NULL) WITHOUT ROWID",
)


class SqliteMarks:
    """`made_with` is the id of the key that marks are made with; marks of another key are thrown away."""

    def __init__(self, path: Path, made_with: str) -> None:
        private_file(path)
        self._connection = StandardConnection(path)
        self._made_with = made_with
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", "PRAGMA secure_delete=ON", *SCHEMA):
            self._connection.execute(statement)
        meta = self._meta()
        if (meta.get("version"), meta.get("made_with")) != (VERSION, made_with):
            self.reset()

    def complete(self) -> tuple[int, bytes]:
        """(records looked at, leaf hash of the last of them)"""
        meta = self._meta()
        return int(meta["complete"]), bytes(meta["last_hash"])

    def reset(self) -> None:
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        run("DELETE FROM marks")
        run("DELETE FROM meta")
        run("INSERT INTO meta VALUES ('version', ?), ('made_with', ?), ('complete', 0), ('last_hash', x'')", (VERSION, self._made_with))
        run("COMMIT")

    def extend(self, marks: Sequence[tuple[bytes, int]], complete: int, last_hash: bytes) -> None:
        """(mark, record) in order; of two records of one event the first counts."""
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        try:
            for mark in marks:
                run("INSERT OR IGNORE INTO marks VALUES (?,?)", mark)
            run("UPDATE meta SET value = ? WHERE name = 'complete'", (complete,))
            run("UPDATE meta SET value = ? WHERE name = 'last_hash'", (last_hash,))
            run("COMMIT")
        except AuditError:
            self._connection.close()
            raise

    def find(self, mark: bytes) -> int | None:
        """The record of an event."""
        found = self._connection.execute("SELECT idx FROM marks WHERE mark = ?", (mark,))
        return found[0][0] if found else None

    def drop(self, mark: bytes) -> None:
        self._connection.execute("DELETE FROM marks WHERE mark = ?", (mark,))

    def close(self) -> None:
        self._connection.close()

    def _meta(self) -> dict[str, Any]:
        return dict(self._connection.execute("SELECT name, value FROM meta"))
