"""Power loss and failing disks under the ledger, on a file system that forgets what was not synced."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.sqlite.ledger import PRAGMAS, SqliteStore
from router.audit.journal import Checkpointing, Journal
from router.errors import AuditError
from tests.faults.lossy_files import ApswConnection, Disk, LossyFiles
from tests.unit.audit.ledgers import SIGNER, entries, records_of, verified

RECORDS = entries(40)


class Machine:
    """A journal on a disk that can lose power. `image` is what the disk holds for good, as a folder to look at."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.disk = Disk()
        self._vfs = LossyFiles(self.disk, f"lossy-{id(self)}")
        self.journal = self.start(folder)

    def start(self, folder: Path) -> Journal:
        store = SqliteStore(folder / "ledger.sqlite", lambda path: ApswConnection(path, self._vfs.name))
        journal = Journal(store, Checkpointing(SIGNER, None, 3600, 1000))
        journal.open()
        return journal

    def lose_power(self, image: Path, survives: Callable[[], bool] = lambda: False) -> Path:
        """What a disk would hold afterwards: a copy without shared memory, and with only those unsynced writes that `survives` spares."""
        image.mkdir()
        for name in ("ledger.sqlite", "ledger.sqlite-wal"):
            if (self.folder / name).exists():
                shutil.copy(self.folder / name, image / name)
                with (image / name).open("r+b") as file:
                    for offset, data in self.disk.unsynced.get(str(self.folder / name), []):
                        if survives():
                            file.seek(offset)
                            file.write(data)
        self.disk.lose_power()
        return image

    def off(self) -> None:
        """What the dead process left open is closed before its file system goes."""
        with suppress(AuditError):
            self.journal.close()
        self._vfs.unregister()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path / "disk")
    yield made
    made.disk.failing.clear()
    made.off()


def leaves(image: Path) -> list[bytes]:
    return [leaf for leaf, _, _ in records_of(image)]


def reopened(image: Path) -> Journal:
    journal = Journal(SqliteStore(image / "ledger.sqlite"), Checkpointing(SIGNER))
    journal.open()
    return journal


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=8))
def test_acknowledged_records_survive_a_power_loss(tmp_path_factory: pytest.TempPathFactory, batches: list[int]) -> None:
    """After any number of commits, what the disk holds for good is exactly what was acknowledged, and it verifies."""
    machine, folder, done = Machine(tmp_path_factory.mktemp("disk")), tmp_path_factory.mktemp("after"), 0
    for count in batches:
        machine.journal.append(RECORDS[done : done + count])
        done += count
    image = machine.lose_power(folder / "image")
    machine.off()
    reopened(image).close()
    assert leaves(image) == [entry.leaf for entry in RECORDS[:done]]
    assert verified(image).ok


def test_without_full_synchronisation_acknowledged_records_are_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof above is worth something: on this file system a ledger that syncs less does lose records."""
    monkeypatch.setattr("adapters.sqlite.ledger.PRAGMAS", (*PRAGMAS, "PRAGMA synchronous=NORMAL"))
    machine = Machine(tmp_path / "disk")
    machine.journal.append(RECORDS[:3])
    image = machine.lose_power(tmp_path / "image")
    machine.off()
    journal = reopened(image)
    assert journal.size == 0
    journal.close()


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_commit_that_was_torn_by_a_power_loss_is_there_in_whole_or_not_at_all(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any part of an unacknowledged commit may have reached the disk; what was acknowledged before it is untouched."""
    machine, folder = Machine(tmp_path_factory.mktemp("disk")), tmp_path_factory.mktemp("after")
    machine.journal.append(RECORDS[:4])
    machine.disk.failing["sync"] = apsw.IOError
    with pytest.raises(AuditError):
        machine.journal.append(RECORDS[4:9])
    image = machine.lose_power(folder / "image", lambda: data.draw(st.booleans()))
    machine.off()
    journal = reopened(image)
    assert journal.size in (4, 9)
    journal.close()
    assert verified(image).ok


def test_every_commit_syncs(machine: Machine) -> None:
    """Acknowledged means its own sync, not a later one."""
    for number in range(5):
        before = machine.disk.syncs
        machine.journal.append([RECORDS[number]])
        assert machine.disk.syncs > before


@pytest.mark.parametrize("operation", ["write", "sync"])
def test_an_io_error_is_fatal_and_nothing_acknowledged_is_lost(machine: Machine, tmp_path: Path, operation: str) -> None:
    """A failed write or sync is never tried again: everything is refused until the ledger is opened anew."""
    machine.journal.append(RECORDS[:4])
    machine.disk.failing[operation] = apsw.IOError
    with pytest.raises(AuditError) as failed:
        machine.journal.append(RECORDS[4:6])
    assert failed.value.code == "audit_io_failed"
    machine.disk.failing.clear()
    with pytest.raises(AuditError) as refused:
        machine.journal.append(RECORDS[6:8])
    assert refused.value.code == "audit_io_failed"
    image = machine.lose_power(tmp_path / "image")
    journal = reopened(image)
    assert journal.size == 4
    assert journal.append(RECORDS[8:9]) == 4
    journal.close()
    assert verified(image).ok


def test_a_full_disk_refuses_clearly_and_recovers(machine: Machine) -> None:
    """Nothing is written, the reason is named, and the same ledger goes on once there is room."""
    machine.journal.append(RECORDS[:4])
    machine.disk.failing["write"] = apsw.FullError
    for _ in range(3):
        with pytest.raises(AuditError) as full:
            machine.journal.append(RECORDS[4:6])
        assert full.value.code == "audit_disk_full"
    machine.disk.failing.clear()
    assert machine.journal.append(RECORDS[4:6]) == 4
    machine.journal.close()
    assert leaves(machine.folder) == [entry.leaf for entry in RECORDS[:6]]
    assert verified(machine.folder).ok
