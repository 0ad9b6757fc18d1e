"""A SQLite file is read with its write-ahead log, or not at all: without it the file is an older state, as if some of it were cut off."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.sqlite.ledger import SqliteStore
from adapters.sqlite.place import KEYS_FILE, SqlitePlace
from router.audit.journal import Checkpointing, Journal
from router.errors import AuditError
from tests.read_only import read_only
from tests.unit.audit.ledgers import SIGNER, entries, reader, verified, written

ROOT = Path(__file__).parents[3]
FEW_DESCRIPTORS = """
import os, resource, sys
from pathlib import Path
from adapters.sqlite.reader import SqliteReader
from router.audit.questions.reader import Stored
from router.errors import AuditError
folder, spare, held = Path(sys.argv[1]), int(sys.argv[2]), []
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    for each in held[:spare]:
        os.close(each)
try:
    said = SqliteReader(folder / "ledger.sqlite", Stored).size()
except AuditError as error:
    said = error.code
for each in held[spare:]:
    os.close(each)
print(said)
"""


def snapshot(source: Path, folder: Path, *suffixes: str) -> None:
    for suffix in ("", *suffixes):
        shutil.copyfile(source / f"ledger.sqlite{suffix}", folder / f"ledger.sqlite{suffix}")


def size(folder: Path) -> int:
    opened = reader(folder)
    try:
        return opened.size()
    finally:
        opened.close()


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Path]:
    """Of a ledger that is being written: 30 records under a checkpoint, of which the file itself has ten, and the log the others."""
    folder = tmp_path / "live"
    folder.mkdir()
    written(folder, entries(10))
    journal = Journal(SqliteStore(folder / "ledger.sqlite"), Checkpointing(SIGNER, folder / "checkpoints"))
    journal.open()
    journal.append(entries(20))
    journal.sign_checkpoint()
    yield folder
    journal.close()


def test_a_snapshot_where_nothing_may_be_written_is_not_read_without_its_log(live: Path, tmp_path: Path) -> None:
    """Its records would seem to be cut off: a sentence that accuses somebody. A copy of both files that may be written to is whole."""
    with read_only(tmp_path / "mounted", lambda folder: snapshot(live, folder, "-wal")) as mounted:
        for look in (reader, verified):
            with pytest.raises(
                AuditError, match=r"ledger\.sqlite has a write-ahead log .* copy both files to a writable folder"
            ) as refused:
                look(mounted)
            assert refused.value.code == "audit_log_unreadable"
        copy = tmp_path / "copy"
        copy.mkdir()
        snapshot(mounted, copy, "-wal")
        report = verified(copy)
        assert (report.size, report.ok) == (30, True)


def test_one_with_the_logs_shared_memory_is_read_whole(live: Path, tmp_path: Path) -> None:
    with read_only(tmp_path / "mounted", lambda folder: snapshot(live, folder, "-wal", "-shm")) as mounted:
        assert size(mounted) == 30


def test_one_whose_log_is_empty_or_not_there_is_read(tmp_path: Path) -> None:
    """As a clean stop, or a copy by SQLite's own means, leaves it."""
    written(tmp_path, entries(10))
    for log in (False, True):

        def fill(folder: Path, log: bool = log) -> None:
            snapshot(tmp_path, folder)
            if log:
                (folder / "ledger.sqlite-wal").touch()

        with read_only(tmp_path / f"mounted-{log}", fill) as mounted:
            assert verified(mounted).ok
            assert size(mounted) == 10


def test_the_log_lies_beside_the_file_that_a_link_leads_to(live: Path, tmp_path: Path) -> None:
    """Such as that of the keys beside a ledger that was left."""
    with read_only(tmp_path / "mounted", lambda folder: snapshot(live, folder, "-wal")) as mounted:
        linked = tmp_path / "linked"
        linked.mkdir()
        (linked / "ledger.sqlite").symlink_to(mounted / "ledger.sqlite")
        with pytest.raises(AuditError, match="copy both files"):
            reader(linked)


def test_subjects_keys_are_not_read_without_their_log_either(tmp_path: Path) -> None:
    """A key that only the log has would count as destroyed."""
    place = SqlitePlace(tmp_path / "live")
    keys = place.keys(b"s" * 32)
    keys.open()
    keys.ensure(["ann"])

    def fill(folder: Path) -> None:
        for suffix in ("", "-wal"):
            shutil.copyfile(place.state / f"{KEYS_FILE}{suffix}", folder / f"{KEYS_FILE}{suffix}")

    with read_only(tmp_path / "mounted", fill) as mounted:
        with pytest.raises(AuditError, match="copy both files") as refused:
            SqlitePlace(mounted).kept_keys(lambda: b"s" * 32)
        assert refused.value.code == "audit_log_unreadable"
    keys.close()


def test_what_is_no_ledger_is_not_read_in_another_way(tmp_path: Path) -> None:
    """Only what may not be written to is tried again as what nobody changes."""
    (tmp_path / "ledger.sqlite").write_bytes(b"no database, whatever it is called" * 100)
    with pytest.raises(AuditError, match="file is not a database") as refused:
        reader(tmp_path)
    assert refused.value.code == "audit_io_failed"


def test_where_it_may_be_written_nothing_is_read_without_the_log(live: Path, tmp_path: Path) -> None:
    """Whatever keeps it from being read, somebody may be writing to it."""
    snapshot(live, tmp_path, "-wal")
    (tmp_path / "ledger.sqlite-shm").symlink_to(tmp_path / "nowhere" / "ledger.sqlite-shm")
    with pytest.raises(AuditError, match="cannot be used") as refused:
        reader(tmp_path)
    assert refused.value.code == "audit_io_failed"


def with_descriptors(spare: int, folder: Path) -> str:
    """How many records a process sees that may open so many files more, or why it sees none."""
    told = subprocess.run([sys.executable, "-c", FEW_DESCRIPTORS, str(folder), str(spare)], cwd=ROOT, capture_output=True, check=True)
    return told.stdout.decode().strip()


@pytest.mark.parametrize("spare", range(5))
def test_without_descriptors_a_ledger_is_not_a_shorter_one(live: Path, spare: int) -> None:
    """Of a running one either every record that was committed is seen, or why not is said."""
    assert with_descriptors(spare, live) == ("audit_descriptors_short" if spare < 3 else "30")


@pytest.mark.parametrize("spare", range(3))
def test_nor_is_one_that_has_just_begun_an_empty_one(tmp_path: Path, spare: int) -> None:
    """Its log is empty, and will not stay so: who reads on past it would never see a record."""
    written(tmp_path, entries(3))
    journal = Journal(SqliteStore(tmp_path / "ledger.sqlite"), Checkpointing(SIGNER))
    journal.open()
    assert (tmp_path / "ledger.sqlite-wal").stat().st_size == 0
    assert with_descriptors(spare, tmp_path) == "audit_descriptors_short"
    journal.close()
