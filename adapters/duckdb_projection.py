"""A copy of the ledger in a DuckDB file: tables `records`, `ranges` and `meta`. Data and mark are one transaction.

The file is open only while a batch is written: DuckDB lets nobody else read meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from adapters.parquet_file import Columns, pair, schema, value
from router.errors import AuditError

TYPES = {"integer": "BIGINT", "real": "DOUBLE", "text": "VARCHAR", "time": "TIMESTAMPTZ"}


class DuckdbFile:
    """Implements the projection that `router.audit.copies.projecting` describes. `make` builds what `kept` gives."""

    batch = 5000

    def __init__(self, path: Path, columns: Columns, make: Any) -> None:
        self._path = path
        self._columns = columns
        self._make = make

    def complete(self) -> tuple[str, int, bytes]:
        if not self._path.exists():
            return "", 0, b""
        with self._opened() as file:
            found = file.execute("SELECT origin, complete_to, leaf_hash FROM meta").fetchone()
        return (str(found[0]), int(found[1]), bytes.fromhex(found[2])) if found else ("", 0, b"")

    def extend(self, origin: str, rows: Sequence[Mapping[str, Any]], digest: str) -> None:
        table = {name: [value(row.get(name), kind) for row in rows] for name, kind in self._columns}
        batch = pa.table(table, schema=schema(self._columns, {}))
        first, last = rows[0], rows[-1]
        with self._opened() as file:
            file.execute("BEGIN")
            file.register("batch", batch)
            file.execute("INSERT INTO records BY NAME SELECT * FROM batch")
            file.execute("INSERT INTO ranges VALUES (?,?,?)", [first["record"], last["record"] + 1, digest])
            file.execute("DELETE FROM meta")
            file.execute("INSERT INTO meta VALUES (?,?,?)", [origin, last["record"] + 1, last["leaf_hash"]])
            file.execute("COMMIT")

    def reset(self) -> None:
        with self._opened() as file:
            file.execute("BEGIN")
            for name in ("records", "ranges", "meta"):
                file.execute(f"DELETE FROM {name}")  # noqa: S608 - our own names
            file.execute("COMMIT")

    def kept(self) -> Iterator[Any]:
        if not self._path.exists():
            return
        with self._opened() as file:
            found = file.execute("SELECT first, until, digest FROM ranges ORDER BY first").fetchall()
        yield from (self._make(*row) for row in found)

    def contents(self, start: int, end: int) -> Iterable[tuple[int, bytes]]:
        with self._opened() as file:
            asked = "SELECT record, leaf_hash, leaf FROM records WHERE record >= ? AND record < ? ORDER BY record"
            found = file.execute(asked, [start, end]).fetchall()
        return [pair(*row) for row in found]

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """A connection. A transaction that is not committed when this ends is rolled back."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with duckdb.connect(str(self._path), config={"threads": 1}) as connection:
                columns = ", ".join(f"{name} {TYPES[kind]}" for name, kind in self._columns)
                connection.execute(f"CREATE TABLE IF NOT EXISTS records ({columns})")
                connection.execute("CREATE TABLE IF NOT EXISTS ranges (first BIGINT, until BIGINT, digest VARCHAR)")
                connection.execute("CREATE TABLE IF NOT EXISTS meta (origin VARCHAR, complete_to BIGINT, leaf_hash VARCHAR)")
                yield connection
        except (duckdb.Error, OSError) as error:
            raise AuditError(f"{self._path} cannot be used: {str(error).splitlines()[0]}", "projection_unavailable") from error
