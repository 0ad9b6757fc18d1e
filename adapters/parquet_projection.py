"""A copy of the ledger as Parquet files: `day=YYYY-MM-DD/records-START-END.parquet`, each for the records [START, END) and of one day.

1 `pending.json` names the files that a batch is going to be   2 they are written, each durable under its name   3 `projection.json` says
that they are complete. After a crash before 3 the next batch removes what 1 named; before 1 and after 3 there is nothing to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from adapters.marker_file import MarkerFile
from adapters.parquet_file import Columns, ParquetRows, pair
from router.durable import remove, replace, sync_folder
from router.errors import AuditError

NAME = re.compile(r"records-(\d{12})-(\d{12})\.parquet")
UNAVAILABLE = "projection_unavailable"
PENDING = "pending.json"


class ParquetDirectory:
    """Implements the projection that `router.audit.copies.projecting` describes. `make` builds what `kept` gives; `digest` hashes pairs."""

    batch = 5000

    def __init__(self, directory: Path, columns: Columns, digest: Any, make: Any) -> None:
        self._directory = directory
        self._columns = columns
        self._digest = digest
        self._make = make
        self._marker = MarkerFile(directory / "projection.json")

    def complete(self) -> tuple[str, int, bytes]:
        return self._marker.read()

    def extend(self, origin: str, rows: Sequence[Mapping[str, Any]], digest: str) -> None:
        try:
            self._clear(int(rows[0]["record"]))
            runs = [(day, list(run)) for day, run in groupby(rows, key=_day)]
            self._directory.mkdir(parents=True, exist_ok=True)
            with replace(self._directory / PENDING) as file:  # 1
                file.write(orjson.dumps([_name(day, run) for day, run in runs]))
            for day, run in runs:  # 2
                self._write(origin, self._directory / _name(day, run), run)
            self._marker.write(origin, rows[-1]["record"] + 1, bytes.fromhex(rows[-1]["leaf_hash"]))  # 3
        except OSError as error:
            raise AuditError(f"{self._directory} cannot be written: {error.strerror}.", UNAVAILABLE) from error

    def reset(self) -> None:
        """The mark first: files without it are nothing, a mark without files would be a lie."""
        try:
            self._marker.remove()
            self._clear(0)
        except OSError as error:
            raise AuditError(f"{self._directory} cannot be written: {error.strerror}.", UNAVAILABLE) from error

    def kept(self) -> Iterator[Any]:
        complete = self.complete()[1]
        for start, end, path in self._files():
            if start < complete:
                notes = self._read(path).schema_arrow.metadata or {}
                yield self._make(start, end, notes.get(b"lockgate.digest", b"").decode())

    def contents(self, start: int, end: int) -> Iterable[tuple[int, bytes]]:
        for first, last, path in self._files():
            if first < end and start < last:
                table = self._read(path).read(columns=["record", "leaf_hash", "leaf"])
                yield from map(pair, *(table[name].to_pylist() for name in ("record", "leaf_hash", "leaf")))

    def _write(self, origin: str, path: Path, rows: list[Mapping[str, Any]]) -> None:
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700)
            sync_folder(self._directory)
        pairs = ((row["record"], bytes.fromhex(row["leaf_hash"])) for row in rows)
        notes = {"lockgate.origin": origin, "lockgate.digest": self._digest(pairs)}
        with replace(path) as file:
            writer = ParquetRows(file, self._columns, notes)
            for row in rows:
                writer.add(row)
            writer.finish()

    def _clear(self, complete: int) -> None:
        """Removes what does not count. While nothing counts, whatever an earlier life left here."""
        pending = self._directory / PENDING
        if complete == 0:
            left = [path for _, _, path in self._files()]
            for draft in self._directory.glob("day=*/.records-*.part"):
                draft.unlink(missing_ok=True)
        else:
            named = orjson.loads(pending.read_bytes()) if pending.exists() else []
            left = [self._directory / name for name in named if _start(name) >= complete]
        for path in left:
            path.with_name(f".{path.name}.part").unlink(missing_ok=True)
            if path.exists():
                remove(path)

    def _files(self) -> list[tuple[int, int, Path]]:
        found = ((NAME.fullmatch(path.name), path) for path in self._directory.glob("day=*/records-*.parquet"))
        return sorted((int(match[1]), int(match[2]), path) for match, path in found if match)

    def _read(self, path: Path) -> Any:
        try:
            return pq.ParquetFile(path)
        except (OSError, ValueError) as error:
            raise AuditError(f"{path} cannot be read as Parquet.", UNAVAILABLE) from error


def _day(row: Mapping[str, Any]) -> str:
    return row["time"][:10] if row.get("time") else "unknown"


def _name(day: str, rows: Sequence[Mapping[str, Any]]) -> str:
    return f"day={day}/records-{rows[0]['record']:012d}-{rows[-1]['record'] + 1:012d}.parquet"


def _start(name: str) -> int:
    match = NAME.fullmatch(name.rpartition("/")[2])
    return -1 if match is None else int(match[1])
