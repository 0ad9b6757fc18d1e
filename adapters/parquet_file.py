"""Apache Parquet files (extra `parquet`), written a row group at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import IO, Any

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError:  # named where it is wanted, see `require`
    pa = pq = None

from router.errors import AuditError

GROUP = 5000
Columns = Sequence[tuple[str, str]]


def require() -> None:
    """Raises AuditError where the extra is not installed."""
    if pa is None:
        raise AuditError("Parquet needs the extra 'parquet': pip install 'lockgate[parquet]'.", "extra_missing")


def schema(columns: Columns, notes: Mapping[str, str]) -> Any:
    """`notes` become the file's own metadata."""
    types = {"integer": pa.int64(), "real": pa.float64(), "text": pa.string(), "time": pa.timestamp("us", tz="UTC")}
    return pa.schema([(name, types[kind]) for name, kind in columns], metadata=dict(notes))


class ParquetRows:
    """Onto an open binary file, which stays open. Times are truncated to microseconds; the leaf has them in full."""

    def __init__(self, file: IO[bytes], columns: Columns, notes: Mapping[str, str]) -> None:
        require()
        self._columns = columns
        self._schema = schema(columns, notes)
        self._writer = pq.ParquetWriter(file, self._schema, compression="zstd")
        self._rows: list[Mapping[str, Any]] = []

    def add(self, row: Mapping[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) >= GROUP:
            self._flush()

    def finish(self) -> None:
        if self._rows:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        table = {name: [value(row.get(name), kind) for row in self._rows] for name, kind in self._columns}
        self._writer.write_table(pa.table(table, schema=self._schema))
        self._rows = []


def value(told: Any, kind: str) -> Any:
    return told if told is None or kind != "time" else datetime.fromisoformat(f"{told[:26]}+00:00")


def pair(record: int, told: str, leaf: str) -> tuple[int, bytes]:
    """(record, leaf hash) as a copy really has it; no bytes where the leaf that lies there has another hash than lies beside it."""
    hashed = sha256(b"\x00" + leaf.encode()).digest()
    return record, hashed if hashed.hex() == told else b""
