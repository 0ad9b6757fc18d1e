"""Every operation by which the ledger changes its disk, broken in turn: once so that nothing was done, once so that all of it was done and
only the answer was lost, and writes also half-way. After each, with and without a power loss: what was acknowledged is there."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import apsw
import pytest

from adapters.sqlite.ledger import SqliteStore
from router.audit.journal import Checkpointing, Journal
from router.audit.tree.merkle import CompactRange, leaf_hash
from router.errors import AuditError
from router.ports import Entry
from tests.faults.lossy_files import ApswConnection, Break, Disk, LossyFiles, image_of
from tests.unit.audit.ledgers import SIGNER, entries, records_of, verified

RECORDS = entries(16)
BATCHES = (1, 3, 2, 4)
LATE = RECORDS[14]


@dataclass
class Run:
    """One life of a writer: what it acknowledged, how it was refused, and what lies on the disk afterwards."""

    folder: Path
    disk: Disk
    acknowledged: list[Entry] = field(default_factory=list)
    offered: int = 0
    refusals: list[str] = field(default_factory=list)


def lived(folder: Path, broken: Break | None) -> Run:
    """Opens a ledger, writes, signs, and closes it, unless it is refused on the way; then it is asked once more."""
    folder.mkdir()
    run = Run(folder, Disk(breaking=broken))
    files = LossyFiles(run.disk, f"broken-{id(run)}")
    store = SqliteStore(folder / "ledger.sqlite", lambda path: ApswConnection(path, files.name))
    journal = Journal(store, Checkpointing(SIGNER, folder / "checkpoints", 3600, 4))
    try:
        journal.open()
        _write(journal, run)
    except AuditError as error:
        run.refusals.append(error.code)
    with suppress(AuditError, apsw.Error):  # the last connection's close tidies up; that may be what is broken
        journal.close()
    files.unregister()
    return run


def _write(journal: Journal, run: Run) -> None:
    for count in BATCHES:
        batch = RECORDS[run.offered : run.offered + count]
        run.offered += count
        try:
            journal.append(batch)
        except AuditError as error:
            run.refusals.append(error.code)
            if error.code != "audit_disk_full":
                _refused_for_good(journal)
                return
            continue
        run.acknowledged.extend(batch)
        if journal.until_checkpoint() == 0.0:
            journal.sign_checkpoint()


def _refused_for_good(journal: Journal) -> None:
    with pytest.raises(AuditError):
        journal.append([LATE])


def hold(run: Run, image: Path) -> None:
    """Acknowledged ⊆ ledger ⊆ offered, in order; the tree is that of the leaves; it verifies, goes on, and verifies again."""
    journal = Journal(SqliteStore(image / "ledger.sqlite"), Checkpointing(SIGNER, image / "checkpoints", 3600, 4))
    journal.open()
    leaves, tree = [leaf for leaf, _, _ in records_of(image)], CompactRange()
    for leaf in leaves:
        tree.append(leaf_hash(leaf))
    assert (journal.size, journal.root()) == (tree.size, tree.root())
    offered = [entry.leaf for entry in RECORDS[: run.offered]]
    kept = iter(leaves)
    assert all(entry.leaf in kept for entry in run.acknowledged)  # in this order
    assert [leaf for leaf in leaves if leaf not in offered] == []
    assert len(set(leaves)) == len(leaves)
    assert verified(image).ok
    assert journal.append([LATE]) == len(leaves)
    journal.close()
    assert verified(image).ok


def operations(folder: Path) -> list[str]:
    return lived(folder / "whole", None).disk.operations


@pytest.mark.parametrize("persisted", [False, True], ids=["failed", "failed but persisted"])
@pytest.mark.parametrize("power_lost", [False, True], ids=["killed", "power lost"])
def test_whatever_operation_breaks_nothing_acknowledged_is_lost(tmp_path: Path, persisted: bool, power_lost: bool) -> None:
    """An input/output error at every single operation, opening and closing included."""
    for at, operation in enumerate(operations(tmp_path)):
        run = lived(tmp_path / f"{at}", Break(at, persisted=persisted))
        if operation in ("write", "sync") and run.offered and len(run.acknowledged) < sum(BATCHES):
            assert set(run.refusals) == {"audit_io_failed"}, (at, operation)
        hold(run, image_of(run.disk, run.folder, tmp_path / f"{at}-after", power_lost=power_lost))


@pytest.mark.parametrize("power_lost", [False, True], ids=["killed", "power lost"])
def test_whatever_write_finds_the_disk_full_the_ledger_goes_on_without_a_gap(tmp_path: Path, power_lost: bool) -> None:
    """Room comes back at once here; what was refused is not in the ledger, and what came after it is."""
    for at, operation in enumerate(operations(tmp_path)):
        if operation != "write":
            continue
        run = lived(tmp_path / f"{at}", Break(at, apsw.FullError))
        assert set(run.refusals) <= {"audit_disk_full"}
        hold(run, image_of(run.disk, run.folder, tmp_path / f"{at}-after", power_lost=power_lost))


@pytest.mark.parametrize("torn", [1, 12, 512, 4095])
def test_a_page_of_which_only_the_beginning_was_written_is_not_believed(tmp_path: Path, torn: int) -> None:
    """Power is lost in the middle of a write: of a page, or of the header before it."""
    for at, operation in enumerate(operations(tmp_path)):
        if operation != "write":
            continue
        run = lived(tmp_path / f"{at}", Break(at, torn=torn))
        hold(run, image_of(run.disk, run.folder, tmp_path / f"{at}-after", power_lost=True))


def test_the_writer_changes_its_disk_in_enough_ways(tmp_path: Path) -> None:
    """The tests above would say nothing of a ledger that hardly writes."""
    done = operations(tmp_path)
    assert {"write", "sync", "truncate", "delete"} <= set(done)
    assert done.count("sync") > len(BATCHES)
