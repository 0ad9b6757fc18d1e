"""Reads a ledger's SQLite file beside its writer, or a copy of it on storage that nobody can write to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from adapters.sqlite.connection import opened_to_read, refuse_missing
from adapters.sqlite.ledger import COPIED, FORMAT, NOTES, last_commit, stored_nodes
from adapters.sqlite.migrations import check_readable
from router.errors import AuditError

# Who tampers with a file, or a damaged byte, may leave values of another type, or none; they are read as bytes and text, and found to be
# wrong as such.
_RECORDS = (
    "SELECT idx, coalesce(CAST(leaf AS BLOB), x''), coalesce(CAST(sealed AS BLOB), x''), coalesce(CAST(key_id AS TEXT), '')"
    " FROM records WHERE idx >= ? AND idx < ? ORDER BY idx"
)
_LEAVES_WITH = "SELECT idx, CAST(leaf AS BLOB) FROM records WHERE idx >= ? AND idx < ? AND instr(CAST(leaf AS BLOB), ?) ORDER BY idx"

_COMPUTED = "SELECT type, name FROM sqlite_master WHERE type NOT IN ('table', 'index')"
_COUNTS = "SELECT name, typeof(seq) FROM sqlite_sequence"
CHECKED = frozenset({"meta", "checkpoints", "arrivals", "deliveries"})


class SqliteReader:
    """`make` builds what a record is handed out as, from (index, leaf, sealed, key id)."""

    def __init__(self, path: Path, make: Callable[[int, bytes, bytes, str], Any]) -> None:
        refuse_missing(path)
        self._make = make
        self._connection = opened_to_read(path)
        self._meta = dict(self._connection.execute("SELECT name, value FROM meta"))
        try:
            check_readable(self._connection, path, FORMAT)
        except AuditError:
            self.close()
            raise

    def origin(self) -> str:
        return str(self._meta.get("origin", ""))

    def copied(self) -> str:
        """Of a backup's copy, when it was made (RFC 3339); empty otherwise."""
        return str(self._meta.get(COPIED, ""))

    def size(self) -> int:
        return self.last_commit()[0]

    def last_commit(self) -> tuple[int, bytes]:
        return last_commit(self._connection)

    def records(self, start: int, end: int) -> Iterator[Any]:
        make = self._make
        for row in self._connection.each(_RECORDS, (start, end)):
            yield make(*row)

    def leaves_with(self, text: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        return self._connection.each(_LEAVES_WITH, (start, end, text))

    def nodes(self, level: int, start: int, end: int) -> list[bytes]:
        return stored_nodes(self._connection, level, start, end)

    def commits(self) -> Iterator[tuple[int, bytes]]:
        return self._connection.each("SELECT size, root FROM commits ORDER BY size")

    def checkpoints(self) -> list[str]:
        return [row[0] for row in self._connection.execute(f"{NOTES} ORDER BY size")]

    def damage(self) -> str | None:
        """Pages of other tables would do for those of checkpoints, which would then be gone: what stands where they came from is no
        delivery, and no count of them. A view in the place of a table could say another thing to whoever asks later."""
        for kind, name in self._connection.execute(_COMPUTED):
            return f"It has a {kind} named {name}, which no ledger has: what it says now it need not say again."
        tables = {row[0] for row in self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        wrong = [row[0] for table in sorted(tables & CHECKED) for row in self._connection.execute(f"PRAGMA integrity_check('{table}')")]
        if "sqlite_sequence" in tables:
            wrong += [str(row[0]) for row in self._connection.execute(_COUNTS) if row[0] not in tables or row[1] != "integer"]
        return next((f"What the file holds beside the records is not what was written: {each}" for each in wrong if each != "ok"), None)

    def latest_checkpoint(self) -> str | None:
        found = self._connection.execute(f"{NOTES} ORDER BY size DESC LIMIT 1")
        return found[0][0] if found else None

    def notes(self, least: int, limit: int, newest: bool) -> list[str]:
        order = "DESC" if newest else "ASC"
        statement = f"{NOTES} WHERE size >= ? ORDER BY size {order} LIMIT ?"
        return [row[0] for row in self._connection.execute(statement, (least, limit))]

    def close(self) -> None:
        self._connection.close()
