"""Erasures and prunings under `kill -9` and power loss, with real processes and files."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.sqlite.connection import Connection, StandardConnection
from adapters.sqlite.ledger import SqliteStore
from adapters.sqlite.subject_keys import KeyFile
from router.audit.governance.pruning import Pruning
from router.audit.governance.retention import DAY_NS
from router.audit.journal import Checkpointing, Journal
from router.audit.records.record import system_entry
from router.errors import AuditError
from tests.faults.eraser import FORTNIGHTS, KEPT
from tests.faults.lossy_files import ApswConnection, Disk, LossyFiles
from tests.faults.test_ledger_power import Machine
from tests.unit.audit.governed import SEALING_KEY, Clock, running
from tests.unit.audit.ledgers import entries, records_of, verified
from tests.unit.audit.samples import DECISION

ROOT = Path(__file__).parents[2]


def opened_keys(folder: Path) -> KeyFile:
    keys = KeyFile(folder / "keys.sqlite", SEALING_KEY)
    keys.open()
    return keys


def killed_after(folder: Path, lines: int, seconds: float) -> list[str]:
    """Runs the eraser until it answered so often and some moment more; the key ids that it said were erased."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.eraser", str(folder)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as eraser:
        assert eraser.stdout is not None
        told = [eraser.stdout.readline() for _ in range(lines)]
        time.sleep(seconds)
        eraser.send_signal(signal.SIGKILL)
        told += eraser.stdout.read().splitlines(keepends=True)
    assert len(told) >= lines
    return [line.strip() for line in told if line.endswith("\n")]


async def test_a_killed_eraser_told_no_lie_and_is_finished_by_the_next(tmp_path: Path) -> None:
    """Whenever it dies: who was said to be erased is; whose erasure is on record has no key; what was ordered is carried out; what was
    pruned is on record; and everything verifies, the personal parts that are left included."""
    moments = random.Random(29)
    for lines in (1, 2, 3, 5, 4):
        told = killed_after(tmp_path, lines, moments.uniform(0, 0.03))
        async with running(tmp_path) as place:
            standing = place.facts.standing()
            assert set(told) <= set(standing.erased)
            assert await place.keys.present(list(standing.erased)) == []
            await place.erasing.finish()
            assert place.facts.standing().unfinished() == []
            assert await place.keys.present(list(standing.ordered)) == []
        report = verified(tmp_path, open_keys=partial(opened_keys, tmp_path))
        assert report.faults == []
    async with running(tmp_path, Clock(DECISION.decided_ns + FORTNIGHTS * 14 * DAY_NS)) as place:
        await Pruning(place.orders, KEPT).prune(None)
    assert verified(tmp_path).pruned == 120


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_a_torn_pruning_is_there_with_its_record_or_not_at_all(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Any part of the unacknowledged transaction may have reached the disk."""
    machine, folder = Machine(tmp_path_factory.mktemp("disk")), tmp_path_factory.mktemp("after")
    machine.journal.append(entries(8))
    details = {"class": "rest", "keep": "184d", "policy": "p", "from": 0, "until": 8, "ranges": [[1, 3], [5, 6]], "count": 3}
    machine.disk.failing["sync"] = apsw.IOError
    with pytest.raises(AuditError):
        machine.journal.append([system_entry("pruned", 1, details)], [1, 2, 5])
    image = machine.lose_power(folder / "image", lambda: data.draw(st.booleans()))
    machine.off()
    journal = Journal(SqliteStore(image / "ledger.sqlite"), Checkpointing(machine.journal._plan.signer))
    journal.open()
    journal.close()  # which signs
    gone = [place for place, (_, sealed, _) in enumerate(records_of(image)[:8]) if not sealed]
    assert gone == ([1, 2, 5] if journal.size == 9 else [])
    assert verified(image).ok


def test_a_destroyed_key_does_not_come_back_with_the_power(tmp_path: Path) -> None:
    """When it is said to be gone, the disk holds neither the row nor, in any file, its bytes."""
    disk = Disk()
    files = LossyFiles(disk, "lossy-keys")
    keys = KeyFile(tmp_path / "keys.sqlite", SEALING_KEY, lambda path: ApswConnection(path, files.name))
    keys.open()
    key_id, _ = keys.ensure(["anna"])["anna"]
    bo, _ = keys.ensure(["bo"])["bo"]
    ((wrapped,),) = keys._open.execute("SELECT wrapped FROM keys WHERE key_id = ?", (key_id,))
    keys.destroy(key_id)
    disk.lose_power()
    held = b"".join(file.read_bytes() for file in tmp_path.glob("keys.sqlite*"))
    keys.close()
    files.unregister()
    assert wrapped not in held
    again = opened_keys(tmp_path)
    assert again.present([key_id, bo]) == [bo]
    again.close()


class Armed:
    """A connection whose statement of that beginning fails once, before or after it was done."""

    def __init__(self, statement: str, done: bool) -> None:
        self.statement = statement
        self.done = done
        self.armed = False

    def connect(self, path: Path) -> Connection:
        return ArmedConnection(path, self)


class ArmedConnection(StandardConnection):
    def __init__(self, path: Path, fault: Armed) -> None:
        super().__init__(path)
        self._fault = fault

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        if not (self._fault.armed and sql.startswith(self._fault.statement)):
            return super().execute(sql, parameters)
        self._fault.armed = False
        if self._fault.done:
            super().execute(sql, parameters)
        raise AuditError("injected", "audit_io_failed")


@pytest.mark.parametrize("done", [False, True], ids=["failed", "failed-but-done"])
@pytest.mark.parametrize("statement", ["DELETE", "PRAGMA wal_checkpoint"])
def test_a_key_whose_removal_fails_is_not_said_to_be_gone(tmp_path: Path, statement: str, done: bool) -> None:
    """The failure is told, other keys can be used, and the next attempt succeeds."""
    fault = Armed(statement, done)
    keys = KeyFile(tmp_path / "keys.sqlite", SEALING_KEY, fault.connect)
    keys.open()
    key_id, _ = keys.ensure(["anna"])["anna"]
    ((wrapped,),) = keys._open.execute("SELECT wrapped FROM keys WHERE key_id = ?", (key_id,))
    fault.armed = True
    with pytest.raises(AuditError, match="injected"):
        keys.destroy(key_id)
    keys.ensure(["bo"])
    keys.destroy(key_id)
    assert keys.present([key_id]) == []
    assert wrapped not in b"".join(file.read_bytes() for file in tmp_path.glob("keys.sqlite*"))
    keys.close()
