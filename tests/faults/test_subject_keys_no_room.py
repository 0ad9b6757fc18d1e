"""The subjects' keys on a disk that is full, and has room again: they go on by themselves."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from errno import ENOSPC
from pathlib import Path
from typing import Any

import pytest

from adapters.sqlite.connection import Connection, StandardConnection
from adapters.sqlite.subject_keys import KeyFile
from router.audit.keys.caching import CachedSubjectKeys
from router.audit.keys.comparing import Compared
from router.errors import AuditError
from tests.needs import missing

SEALING_KEY = bytes(32)
ASKED: dict[str, Callable[[KeyFile], object]] = {
    "ensure": lambda keys: keys.ensure(["cem"]),
    "find": lambda keys: keys.find("ann"),
    "key": lambda keys: keys.key("00"),
    "present": lambda keys: keys.present(["00"]),
    "destroy": lambda keys: keys.destroy("00"),
    "destroyed": lambda keys: keys.destroyed(),
    "compared": lambda keys: keys.compared(),
    "mark": lambda keys: keys.mark(Compared("ledger.test", 3, bytes(32))),
}


@dataclass
class Disk:
    """While it is full nothing is committed, and no connection is made: that needs room for a log."""

    full: bool = False

    def connect(self, path: Path) -> Connection:
        self.check(path)
        return Connected(path, self)

    def check(self, path: Path) -> None:
        if self.full:
            raise AuditError(f"The disk under {path} is full; nothing was written.", "audit_disk_full")


class Connected(StandardConnection):
    def __init__(self, path: Path, disk: Disk) -> None:
        super().__init__(path)
        self._place, self._disk = path, disk

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        if sql == "COMMIT":
            self._disk.check(self._place)
        return super().execute(sql, parameters)


def code_of(attempt: Callable[[], object]) -> str:
    with pytest.raises(AuditError) as refused:
        attempt()
    return refused.value.code


@pytest.mark.parametrize("first", ["ensure", "destroy"])
@pytest.mark.parametrize("asked", ASKED)
def test_keys_are_there_again_once_there_is_room(tmp_path: Path, first: str, asked: str) -> None:
    """Until then whoever asks is told why, each time."""
    disk = Disk()
    keys = KeyFile(tmp_path / "keys.sqlite", SEALING_KEY, disk.connect)
    keys.open()
    given = keys.ensure(["ann"])
    disk.full = True
    assert code_of(lambda: ASKED[first](keys)) == "audit_disk_full"
    assert [code_of(lambda: ASKED[asked](keys)) for _ in range(2)] == ["audit_disk_full"] * 2
    disk.full = False
    ASKED[asked](keys)
    assert keys.ensure(["ann"]) == given
    keys.close()
    assert code_of(lambda: ASKED[asked](keys)) == "audit_closed"


def test_keys_that_were_taken_away_meanwhile_are_not_begun_anew(tmp_path: Path) -> None:
    """Everybody would get a second key."""
    disk, file = Disk(), tmp_path / "keys.sqlite"
    keys = KeyFile(file, SEALING_KEY, disk.connect)
    keys.open()
    given = keys.ensure(["ann"])
    disk.full = True
    assert code_of(lambda: keys.ensure(["bo"])) == "audit_disk_full"
    disk.full = False
    file.rename(tmp_path / "elsewhere")
    with pytest.raises(AuditError, match="are gone"):
        keys.ensure(["ann"])
    assert not file.exists()
    (tmp_path / "elsewhere").rename(file)
    assert keys.ensure(["ann"]) == given
    keys.close()


async def test_it_can_be_asked_whether_keys_can_be_had(tmp_path: Path) -> None:
    """For readiness: not while the file cannot be opened, whatever is in memory."""
    disk = Disk()
    keys = CachedSubjectKeys(KeyFile(tmp_path / "keys.sqlite", SEALING_KEY, disk.connect))
    await keys.open()
    given = await keys.key_for("ann")
    await keys.ping()
    disk.full = True
    with pytest.raises(AuditError):
        await keys.key_for("bo")
    with pytest.raises(AuditError) as refused:
        await keys.ping()
    assert refused.value.code == "audit_disk_full"
    assert await keys.key_for("ann") == given
    disk.full = False
    await keys.ping()
    await keys.close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    options = ("-t", "tmpfs", "-o", "size=400k", "lockgate-test", str(folder))
    if mount is None or subprocess.run([mount, *options], capture_output=True, check=False).returncode != 0:
        missing("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def filled(file: Path) -> None:
    """With whatever room there is."""
    with file.open("ab", buffering=0) as other:
        try:
            while other.write(bytes(4096)):
                pass
        except OSError as error:
            assert error.errno == ENOSPC  # noqa: PT017  # full is what it is to be


def test_a_file_system_that_somebody_else_fills(small: Path) -> None:
    """The room that closing gives back is taken before the file is opened again, which needs some; with room again all is there."""
    crowded = False

    def connect(path: Path) -> Connection:
        if crowded:
            filled(small / "other")
        return StandardConnection(path)

    keys = KeyFile(small / "keys.sqlite", SEALING_KEY, connect)
    keys.open()
    given = keys.ensure([f"subject-{number}" for number in range(100)])
    keys.destroy("00")  # which empties the log
    crowded = True
    filled(small / "other")
    codes = list[str]()
    for number in range(5):
        try:
            given |= keys.ensure([f"{number}-{each}" for each in range(20)])
        except AuditError as error:
            codes.append(error.code)
    assert set(codes) == {"audit_disk_full", "audit_io_failed"}
    crowded = False
    (small / "other").unlink()
    assert keys.ensure(list(given)) == given
    key_id, _ = keys.ensure(["new"])["new"]
    keys.destroy(key_id)
    assert keys.find("new") is None
    keys.close()
