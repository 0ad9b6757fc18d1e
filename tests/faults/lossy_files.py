"""A SQLite file system that keeps in memory what was written and not yet synced, so that a test can pull the plug or make a call fail.

Over it runs the ledger's own store with its own schema and pragmas; only the driver differs (apsw instead of the standard library).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from adapters.sqlite.connection import failure


@dataclass(frozen=True, slots=True)
class Break:
    """The `at`-th operation that changes the disk fails (from 0). `persisted`: it is done for good all the same, and only its answer is
    lost. `torn`: so many bytes of a write reach the disk before it fails."""

    at: int
    error: type[Exception] = apsw.IOError
    persisted: bool = False
    torn: int = 0


@dataclass
class Disk:
    """`failing` names the operation (`write` or `sync`) that fails from now on, and how (an apsw error class); `breaking` breaks one
    operation only. `operations` are the names of all that were begun."""

    unsynced: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)

    open: set[str] = field(default_factory=set)
    failing: dict[str, type[Exception]] = field(default_factory=dict)
    breaking: Break | None = None
    operations: list[str] = field(default_factory=list)
    syncs: int = 0

    def begin(self, operation: str) -> Break | None:
        """The break that meets this operation. Raises where nothing of it is done."""
        broken = self.breaking if self.breaking is not None and self.breaking.at == len(self.operations) else None
        self.operations.append(operation)
        if operation in self.failing:
            raise self.failing[operation](f"injected {operation} failure")
        if broken is not None and not broken.persisted and not broken.torn:
            raise broken.error(f"injected {operation} failure")
        return broken

    def end(self, broken: Break | None) -> None:
        if broken is not None:
            raise broken.error("injected failure of what was done")

    def lose_power(self) -> None:
        """Everything that was not synced is gone, and so are the processes: locks and shared memory too."""
        self.unsynced.clear()
        self.failing.clear()
        self.breaking = None
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
        broken = self._disk.begin("write")
        if broken is None:
            self._pending().append((offset, bytes(data)))
            return
        super().xWrite(bytes(data) if broken.persisted else bytes(data)[: broken.torn], offset)
        self._disk.end(broken)

    def xSync(self, flags: int) -> None:
        broken = self._disk.begin("sync")
        self._disk.syncs += 1
        for offset, data in self._pending():
            super().xWrite(data, offset)
        self._pending().clear()
        super().xSync(flags)
        self._disk.end(broken)

    def xFileSize(self) -> int:
        return max([super().xFileSize(), *(offset + len(data) for offset, data in self._pending())])

    def xTruncate(self, size: int) -> None:
        broken = self._disk.begin("truncate")
        kept = [(offset, data[: size - offset]) for offset, data in self._pending() if offset < size]
        self._disk.unsynced[self._name] = kept
        super().xTruncate(size)
        self._disk.end(broken)

    def _pending(self) -> list[tuple[int, bytes]]:
        return self._disk.unsynced.setdefault(self._name, [])


class LossyFiles(apsw.VFS):
    def __init__(self, disk: Disk, name: str = "lossy") -> None:
        self._disk = disk
        self.name = name
        super().__init__(name, base="")

    def xOpen(self, name: Any, flags: list[int]) -> LossyFile:
        return LossyFile(self._disk, "", name, flags)

    def xDelete(self, name: str, syncdir: bool) -> None:
        broken = self._disk.begin("delete")
        super().xDelete(name, syncdir)
        self._disk.unsynced.pop(name, None)
        self._disk.end(broken)


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


def image_of(disk: Disk, folder: Path, target: Path, *, power_lost: bool) -> Path:
    """What the next process finds: with the power on, the kernel still has what was written and not synced."""
    shutil.copytree(folder, target)
    for shared in target.glob("*-shm"):
        shared.unlink()
    for name, writes in disk.unsynced.items():
        file = target / Path(name).name
        if not power_lost and file.exists():
            with file.open("r+b") as opened:
                for offset, data in writes:
                    opened.seek(offset)
                    opened.write(data)
    return target
