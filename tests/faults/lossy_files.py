"""A SQLite file system that keeps in memory what was written and not yet synced, so that a test can pull the plug or make a call fail.

Over it runs the ledger's own store with its own schema and pragmas; only the driver differs (apsw instead of the standard library).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from adapters.sqlite_connection import failure


@dataclass
class Disk:
    """`failing` names the operation (`write` or `sync`) that fails from now on, and how (an apsw error class)."""

    unsynced: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)

    open: set[str] = field(default_factory=set)
    failing: dict[str, type[Exception]] = field(default_factory=dict)
    syncs: int = 0

    def check(self, operation: str) -> None:
        if operation in self.failing:
            raise self.failing[operation](f"injected {operation} failure")

    def lose_power(self) -> None:
        """Everything that was not synced is gone, and so are the processes: locks and shared memory too."""
        self.unsynced.clear()
        self.failing.clear()
        self.open.clear()


class LossyFile(apsw.VFSFile):
    """Reads see what was written; the real file sees it only after a sync."""

    def __init__(self, disk: Disk, base: str, name: Any, flags: list[int]) -> None:
        self._disk = disk
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        disk.open.add(self._name)
        super().__init__(base, name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:
        data = bytearray(super().xRead(amount, offset).ljust(amount, b"\x00"))
        end = super().xFileSize()
        for at, written in self._pending():
            end = max(end, at + len(written))
            low, high = max(at, offset), min(at + len(written), offset + amount)
            if low < high:
                data[low - offset : high - offset] = written[low - at : high - at]
        return bytes(data[: max(0, min(amount, end - offset))])

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.check("write")
        self._pending().append((offset, bytes(data)))

    def xSync(self, flags: int) -> None:
        self._disk.check("sync")
        self._disk.syncs += 1
        for offset, data in self._pending():
            super().xWrite(data, offset)
        self._pending().clear()
        super().xSync(flags)

    def xFileSize(self) -> int:
        return max([super().xFileSize(), *(offset + len(data) for offset, data in self._pending())])

    def xTruncate(self, size: int) -> None:
        kept = [(offset, data[: size - offset]) for offset, data in self._pending() if offset < size]
        self._disk.unsynced[self._name] = kept
        super().xTruncate(size)

    def _pending(self) -> list[tuple[int, bytes]]:
        return self._disk.unsynced.setdefault(self._name, [])


class LossyFiles(apsw.VFS):
    def __init__(self, disk: Disk, name: str = "lossy") -> None:
        self._disk = disk
        self.name = name
        super().__init__(name, base="")

    def xOpen(self, name: Any, flags: list[int]) -> LossyFile:
        return LossyFile(self._disk, "", name, flags)


class ApswConnection:
    """The ledger's connection facade over apsw."""

    def __init__(self, path: Path, vfs: str) -> None:
        self._path = path
        self._raw = apsw.Connection(str(path), vfs=vfs)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        try:
            return list(self._raw.execute(sql, tuple(parameters)))
        except apsw.Error as error:
            raise failure(self._path, full=isinstance(error, apsw.FullError), detail=str(error)) from error

    def close(self) -> None:
        self._raw.close(True)
