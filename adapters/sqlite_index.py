"""The index for questions: one SQLite file that is derived from the ledger and may be deleted at any time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from adapters.sqlite_connection import StandardConnection, private_file
from router.errors import AuditError

VERSION = "1"
COLUMNS = (
    "idx", "time", "kind", "decision_id", "trace_id", "key_id", "intent", "route", "effect", "result", "confidence", "risk", "tenant"
)  # fmt: skip
INHERITED = ("trace_id", "intent", "route", "effect", "confidence", "risk", "tenant")
_META = "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID"
SCHEMA = (
    _META,
    "CREATE TABLE IF NOT EXISTS entries (idx INTEGER PRIMARY KEY, time TEXT, kind TEXT, decision_id TEXT, trace_id TEXT, key_id TEXT,"
    " intent TEXT, route TEXT, effect TEXT, result TEXT, confidence REAL, risk TEXT, tenant TEXT)",
    "CREATE TABLE IF NOT EXISTS reasons (code TEXT, idx INTEGER, PRIMARY KEY (code, idx)) WITHOUT ROWID",
    *(
        f"CREATE INDEX IF NOT EXISTS by_{column} ON entries ({column}, idx)"
        for column in ("time", "decision_id", "trace_id", "key_id", "intent", "route")
    ),
)
_EVENTS = "CREATE INDEX IF NOT EXISTS by_event ON entries (result, idx) WHERE kind = 'system'"
_TABLES = ("meta", "entries", "reasons")
_FIND = f"SELECT {','.join(COLUMNS)} FROM entries"  # noqa: S608 - our own column names
_INSERT = f"INSERT OR REPLACE INTO entries VALUES ({','.join('?' * len(COLUMNS))})"  # noqa: S608
_DECISION = f"SELECT {','.join(INHERITED)} FROM entries WHERE decision_id = ? AND kind = 'decision'"  # noqa: S608


class SqliteIndex:
    """Implements the index store that `router.audit.reader` describes."""

    def __init__(self, path: Path) -> None:
        private_file(path)
        self._connection = StandardConnection(path)
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=OFF", _META):
            self._connection.execute(statement)
        if dict(self._connection.execute("SELECT name, value FROM meta")).get("version") != VERSION:
            self.reset()

    def complete(self) -> tuple[int, bytes]:
        meta = dict(self._connection.execute("SELECT name, value FROM meta"))
        return int(meta["complete"]), bytes(meta["last_hash"])

    def reset(self) -> None:
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        for table in _TABLES:
            run(f"DROP TABLE IF EXISTS {table}")
        for statement in (*SCHEMA, _EVENTS):
            run(statement)
        run("INSERT INTO meta VALUES ('version', ?), ('complete', 0), ('last_hash', x'')", (VERSION,))
        run("COMMIT")

    def extend(self, rows: Sequence[dict[str, Any]], complete: int, last_hash: bytes) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            if self.complete()[0] <= (rows[0]["idx"] if rows else complete):  # else another process was quicker
                for row in rows:
                    self._add(row)
                self._connection.execute("UPDATE meta SET value = ? WHERE name = 'complete'", (complete,))
                self._connection.execute("UPDATE meta SET value = ? WHERE name = 'last_hash'", (last_hash,))
            self._connection.execute("COMMIT")
        except AuditError:
            self._connection.close()
            raise

    def events(self, names: Sequence[str], after: int) -> list[int]:
        marks = ",".join("?" * len(names))
        sql = f"SELECT idx FROM entries WHERE kind = 'system' AND result IN ({marks}) AND idx >= ? ORDER BY idx"  # noqa: S608  # marks only
        return [row[0] for row in self._connection.execute(sql, (*names, after))]

    def times(self, step: int) -> Iterator[tuple[int, str | None]]:
        yield from self._connection.each("SELECT idx, time FROM entries WHERE idx % ? = 0 ORDER BY idx", (step,))

    def find(self, conditions: Sequence[tuple[str, str, Any]], after: int | None, newest: bool, limit: int) -> list[dict[str, Any]]:
        clauses, values = ["1"], []
        for column, operator, value in conditions:
            clauses.append(_clause(column, operator))
            values.append(value)
        if after is not None:
            clauses.append(f"idx {'<' if newest else '>'} ?")
            values.append(after)
        sql = f"{_FIND} WHERE {' AND '.join(clauses)} ORDER BY idx {'DESC' if newest else 'ASC'} LIMIT ?"
        return [dict(zip(COLUMNS, row, strict=True)) for row in self._connection.execute(sql, (*values, limit))]

    def close(self) -> None:
        self._connection.close()

    def _add(self, row: dict[str, Any]) -> None:
        run = self._connection.execute
        if row["kind"] != "decision" and row["decision_id"] is not None:
            for decision in run(_DECISION, (row["decision_id"],)):
                row = {**row, **dict(zip(INHERITED, decision, strict=True))}
        run(_INSERT, [row.get(column) for column in COLUMNS])
        for code in row["reasons"]:
            run("INSERT OR IGNORE INTO reasons VALUES (?,?)", (code, row["idx"]))
        if row["kind"] == "outcome":
            run("UPDATE entries SET result = ? WHERE decision_id = ? AND kind = 'decision'", (row["result"], row["decision_id"]))


def _clause(column: str, operator: str) -> str:
    if operator not in ("=", "<", "<=", ">="):
        raise ValueError(f"unknown operator {operator}")
    if column == "reason":
        return "idx IN (SELECT idx FROM reasons WHERE code = ?)"
    if column not in COLUMNS:
        raise ValueError(f"unknown column {column}")
    return f"{column} {operator} ?"
