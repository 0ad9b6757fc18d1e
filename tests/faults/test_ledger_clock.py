"""A wall clock that is set back, or far ahead, while the ledger is written: its order is its own, and nothing waits for a time to come."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.sqlite.index import SqliteIndex
from adapters.sqlite.ledger import SqliteStore
from router.audit.journal import Checkpointing, Journal
from router.audit.questions.query import Query, Trail
from router.audit.records.canonical import timestamp
from router.audit.records.record import system_entry
from router.audit.tree.checkpoint import latest_published
from tests.unit.audit.ledgers import SIGNER, reader, verified

HOUR = 3600 * 10**9
NOW = 1_795_000_000 * 10**9
TIMES = (NOW, NOW + 1, NOW - 6 * HOUR, NOW - 6 * HOUR + 1, NOW + 30 * 365 * 24 * HOUR, NOW + 2)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    journal = Journal(SqliteStore(tmp_path / "ledger.sqlite"), Checkpointing(SIGNER, tmp_path / "checkpoints", 3600, 2))
    journal.open()
    for at in TIMES:
        monkeypatch.setattr("time.time_ns", lambda at=at: at)
        journal.append([system_entry("started", at)])
        if journal.until_checkpoint() == 0.0:
            journal.sign_checkpoint()
    journal.close()
    return tmp_path


def test_order_checkpoints_and_proofs_do_not_hang_on_the_clock(folder: Path) -> None:
    """A checkpoint every two records, whatever the time was said to be."""
    report = verified(folder, latest_published(folder / "checkpoints"))
    assert (report.ok, report.size, report.held_against) == (True, len(TIMES), [2, 4, 6])


def test_a_question_about_a_time_finds_what_was_written_at_that_time_of_the_clock(folder: Path) -> None:
    """Records that lie later in the ledger and earlier in time are found; pages go by the ledger's order."""
    source, index = reader(folder), SqliteIndex(folder / "index.sqlite")
    trail = Trail(source, index)
    before = [found.index for found in trail.find(Query(until=timestamp(NOW)), newest=False)]
    since = [found.index for found in trail.find(Query(since=timestamp(NOW), until=timestamp(NOW + HOUR)), newest=False)]
    source.close()
    index.close()
    assert (before, since) == ([2, 3], [0, 1, 5])
