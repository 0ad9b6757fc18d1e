"""Work whose end is still to be asked for: one SQLite file, derived from the ledger, that may be deleted at any time. Nothing personal is
in it: what finds the work again stays sealed in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.sqlite.connection import StandardConnection, private_file

VERSION = "1"
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS open (idx INTEGER PRIMARY KEY, decision TEXT NOT NULL, route TEXT NOT NULL, destination TEXT NOT NULL,"
    " since_ns INTEGER NOT NULL, due_ns INTEGER NOT NULL)",
    "CREATE INDEX IF NOT EXISTS by_decision ON open (decision)",
    "CREATE INDEX IF NOT EXISTS by_due ON open (due_ns)",
)


@dataclass(frozen=True, slots=True)
class OpenWork:
    """`index` is the outcome's record, whose sealed part says where the work is."""

    index: int
    decision: str
    route: str
    destination: str
    since_ns: int
    due_ns: int


class SqliteFollowing:
    def __init__(self, path: Path) -> None:
        private_file(path)
        self._connection = StandardConnection(path)
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", *SCHEMA):
            self._connection.execute(statement)
        if self._meta().get("version") != VERSION:
            self.reset()

    def complete(self) -> tuple[int, bytes]:
        """(records looked at, leaf hash of the last of them)"""
        meta = self._meta()
        return int(meta["complete"]), bytes(meta["last_hash"])

    def reset(self) -> None:
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        run("DELETE FROM open")
        run("DELETE FROM meta")
        run("INSERT INTO meta VALUES ('version', ?), ('complete', 0), ('last_hash', x'')", (VERSION,))
        run("COMMIT")

    def extend(self, found: Sequence[OpenWork | str], complete: int, last_hash: bytes) -> None:
        """In ledger order: work that was set in motion, and ids of decisions whose work has ended."""
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        for each in found:
            if isinstance(each, str):
                run("DELETE FROM open WHERE decision = ?", (each,))
            else:
                row = (each.index, each.decision, each.route, each.destination, each.since_ns, each.due_ns)
                run("INSERT OR IGNORE INTO open VALUES (?,?,?,?,?,?)", row)
        run("UPDATE meta SET value = ? WHERE name = 'complete'", (complete,))
        run("UPDATE meta SET value = ? WHERE name = 'last_hash'", (last_hash,))
        run("COMMIT")

    def due(self, now_ns: int, limit: int) -> list[OpenWork]:
        rows = self._connection.execute("SELECT * FROM open WHERE due_ns <= ? ORDER BY due_ns LIMIT ?", (now_ns, limit))
        return [OpenWork(*row) for row in rows]

    def postpone(self, index: int, due_ns: int) -> None:
        self._connection.execute("UPDATE open SET due_ns = ? WHERE idx = ?", (due_ns, index))

    def drop(self, index: int) -> None:
        self._connection.execute("DELETE FROM open WHERE idx = ?", (index,))

    def count(self) -> int:
        found: int = self._connection.execute("SELECT count(*) FROM open")[0][0]
        return found

    def close(self) -> None:
        self._connection.close()

    def _meta(self) -> dict[str, Any]:
        return dict(self._connection.execute("SELECT name, value FROM meta"))
