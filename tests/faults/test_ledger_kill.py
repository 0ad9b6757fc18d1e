"""Killed writers, second writers and disks without room, with real processes and a real file system."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.sqlite.ledger import SqliteStore
from router.audit.journal import Checkpointing, Journal
from router.audit.ledger import AuditLedger
from router.audit.records.record import system_entry
from router.audit.tree.checkpoint import latest_published
from router.errors import AuditError
from tests.unit.audit.ledgers import SIGNER, reader, verified

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("lines", [1, 40, 400])
def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path, lines: int) -> None:
    """After `kill -9` under load every acknowledged record is in the ledger, at its index, and the whole verifies and goes on."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.ledger_writer", str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline() for _ in range(lines)]
        writer.send_signal(signal.SIGKILL)
        acknowledged += writer.stdout.read().splitlines(keepends=True)
    whole = [line.split() for line in acknowledged if line.endswith("\n")]
    assert len(whole) >= lines
    journal = Journal(SqliteStore(tmp_path / "ledger.sqlite"), Checkpointing(SIGNER, tmp_path / "checkpoints"))
    journal.open()
    journal.append([system_entry("recovered", 1)])
    journal.close()
    assert verified(tmp_path, latest_published(tmp_path / "checkpoints")).ok
    source = reader(tmp_path)
    leaves = {stored.index: stored.leaf for stored in source.records(0, source.size())}
    source.close()
    assert all(decision.encode() in leaves[int(index)] for index, decision in whole)


def test_a_second_process_is_refused_while_the_first_lives_and_not_after(tmp_path: Path) -> None:
    """The lock dies with its process, however that ends."""
    journal = Journal(SqliteStore(tmp_path / "ledger.sqlite"), Checkpointing(SIGNER))
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.ledger_writer", str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline()
        with pytest.raises(AuditError, match="already open in another process"):
            journal.open()
        writer.kill()
        writer.stdout.read()
    journal.open()
    journal.close()


class SmallDisk:
    """Two megabytes: a file system of that size where the test may mount one, else the same limit inside SQLite."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.store = Limited(folder / "ledger.sqlite")
        self.mounted = self._mount("-t", "tmpfs", "-o", "size=2m", "lockgate-test")
        self.store.pages = None if self.mounted else 500

    def make_room(self) -> None:
        if self.mounted:
            assert self._mount("-o", "remount,size=64m")
        else:
            self.store.limit(100_000)

    def unmount(self) -> None:
        if self.mounted:
            subprocess.run(["umount", str(self.folder)], check=True)

    def _mount(self, *options: str) -> bool:
        if shutil.which("mount") is None:
            return False
        return subprocess.run(["mount", *options, str(self.folder)], capture_output=True, check=False).returncode == 0


class Limited(SqliteStore):
    pages: int | None = None

    def open(self, origin: str, **named: bool) -> tuple[int, bytes]:
        opened = super().open(origin, **named)
        if self.pages is not None:
            self.limit(self.pages)
        return opened

    def limit(self, pages: int) -> None:
        self._open.execute(f"PRAGMA max_page_count={pages}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    made = SmallDisk(tmp_path / "disk")
    yield made
    made.unmount()


async def fill(ledger: AuditLedger, characters: int) -> tuple[int, str]:
    """(records written until it failed, the code of the failure)"""
    for number in range(2000):
        try:
            await ledger.append(system_entry("refused", number, {"filler": "x" * characters}))
        except AuditError as error:
            return number, error.code
    return 2000, "never"


async def test_a_full_disk_is_named_and_survived(small_disk: SmallDisk) -> None:
    """Appends fail with `audit_disk_full`, readiness says so, and once there is room the same ledger goes on without a gap."""
    ledger = AuditLedger(Journal(small_disk.store, Checkpointing(SIGNER)))
    await ledger.open()
    written, code = await fill(ledger, 4000)
    assert (written > 50, code) == (True, "audit_disk_full")
    more, code = await fill(ledger, 60_000)
    assert (more, code) == (0, "audit_disk_full")
    assert ledger.fault is not None
    await asyncio.to_thread(small_disk.make_room)
    await ledger.ping()
    assert ledger.fault is None
    assert await ledger.append(system_entry("recovered", 1)) == written
    await ledger.close()
    assert verified(small_disk.folder).ok
