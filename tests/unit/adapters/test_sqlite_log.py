"""Only the writer of a ledger copies SQLite's write-ahead log: a second one that did would meet SQLite's WAL-reset bug."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from adapters.sqlite.ledger import PRAGMAS, SqliteStore
from adapters.sqlite.place import KEYS_FILE, SqlitePlace
from adapters.sqlite.reader import SqliteReader
from router.audit.journal import Checkpointing, Journal
from router.audit.questions.reader import Stored
from router.errors import AuditError
from tests.unit.audit.ledgers import SIGNER, entries


def test_a_reader_cannot_copy_it_and_does_not_when_it_closes(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    journal = Journal(SqliteStore(file), Checkpointing(SIGNER))
    journal.open()
    journal.append(entries(3))
    log = file.with_name(file.name + "-wal")
    before = (file.read_bytes(), log.read_bytes())
    reader = SqliteReader(file, Stored)
    assert reader.size() == 3
    for way in ("PASSIVE", "TRUNCATE"):
        with pytest.raises(AuditError, match=r"disk I/O error|readonly"):
            reader._connection.execute(f"PRAGMA wal_checkpoint({way})")
    with pytest.raises(AuditError, match=r"disk I/O error|readonly"):
        reader._connection.execute("DELETE FROM records")
    reader.close()
    assert (file.read_bytes(), log.read_bytes()) == before
    journal.close()


def test_one_that_may_write_would(tmp_path: Path) -> None:
    """So that the test above can fail."""
    file = tmp_path / "ledger.sqlite"
    journal = Journal(SqliteStore(file), Checkpointing(SIGNER))
    journal.open()
    journal.append(entries(3))
    before = file.read_bytes()
    with sqlite3.connect(file) as other:
        other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    assert file.read_bytes() != before
    journal.close()


def test_it_is_copied_in_small_pieces(tmp_path: Path) -> None:
    """However much is written, the log does not become much longer than it may; the writer begins it anew."""
    pages = next(int(each.partition("=")[2]) for each in PRAGMAS if "autocheckpoint" in each)
    file = tmp_path / "ledger.sqlite"
    journal = Journal(SqliteStore(file), Checkpointing(SIGNER))
    journal.open()
    for _ in range(60):
        journal.append(entries(200))
    assert file.stat().st_size > 2 * pages * 4096
    assert file.with_name(file.name + "-wal").stat().st_size < 2 * pages * 4096
    journal.close()


def test_who_asks_for_keys_beside_who_makes_them_copies_nothing_either(tmp_path: Path) -> None:
    """Finds what the other makes, makes nothing, and leaves the file and its log as they are."""
    place = SqlitePlace(tmp_path)
    writer = place.keys(b"s" * 32)
    writer.open()
    made = writer.ensure(["ann"])["ann"]
    file = tmp_path / KEYS_FILE
    before = (file.read_bytes(), file.with_name(file.name + "-wal").read_bytes())
    reader = place.kept_keys(lambda: b"s" * 32)
    assert (reader.find("ann"), reader.key(made[0]), reader.find("bob")) == (*made, None)
    for attempt in (lambda: reader.ensure(["bob"]), lambda: reader.destroy(made[0])):
        with pytest.raises(AuditError):
            attempt()
    reader.close()
    assert (file.read_bytes(), file.with_name(file.name + "-wal").read_bytes()) == before
    with pytest.raises(AuditError, match="not the one"):
        place.kept_keys(lambda: b"x" * 32)
    writer.close()
