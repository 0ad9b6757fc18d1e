"""Who has the file and patience: bytes changed, cut off, moved and put in anywhere in it, and histories that part ways."""

from __future__ import annotations

import atexit
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.sqlite.ledger import SqliteStore
from router.audit.journal import Checkpointing, Journal
from router.audit.records.record import system_entry
from router.audit.tree.checkpoint import latest_published
from router.errors import AuditError
from tests.unit.audit.ledgers import SIGNER, entries, rehash, replace_records, resign, verified, written

COUNT = 60
WHAT_SPEAKS = ("SELECT idx, leaf, sealed, key_id FROM records ORDER BY idx", "SELECT size, note FROM checkpoints ORDER BY size")


@cache
def template() -> tuple[Path, str, list[object]]:
    """A ledger, its checkpoint from outside, and what it says."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    outside = written(folder, entries(COUNT))
    return folder, outside, said(folder)


def said(folder: Path) -> list[object]:
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as file:
        return [file.execute(question).fetchall() for question in WHAT_SPEAKS]


def flip(file: bytearray, at: int, other: int) -> None:
    file[at] ^= 1 << other % 8


def blank(file: bytearray, at: int, other: int) -> None:
    file[at : at + other % 600] = bytes(len(file[at : at + other % 600]))


def cut(file: bytearray, at: int, _: int) -> None:
    del file[at:]


def move(file: bytearray, at: int, other: int) -> None:
    """A page in another's place."""
    one, two = at // 4096 * 4096, other % len(file) // 4096 * 4096
    file[one : one + 4096], file[two : two + 4096] = file[two : two + 4096], file[one : one + 4096]


@example(move, 9 * 4096, 6 * 4096)  # the checkpoints' page and one of the deliveries'
@example(move, 11 * 4096, 6 * 4096)  # and one that counts deliveries
@example(blank, 76107, 599)  # in a record's header, where no value stands for its leaf then
@example(flip, 3719, 7)  # in the schema's text: what SQLite says of it is no UTF-8
@given(change=st.sampled_from([flip, blank, cut, move]), at=st.integers(0, 2**31), other=st.integers(0, 2**31))
def test_whatever_is_done_to_the_bytes_of_the_file_is_found_or_says_the_same(
    change: Callable[[bytearray, int, int], None], at: int, other: int
) -> None:
    """Either verification finds it, or every record and checkpoint still reads as it was written."""
    source, outside, whole = template()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(source, folder, dirs_exist_ok=True)
        raw = bytearray((folder / "ledger.sqlite").read_bytes())
        change(raw, at % len(raw), other)
        (folder / "ledger.sqlite").write_bytes(raw)
        try:
            report = verified(folder, outside)
        except AuditError:
            return
        assert not report.ok or said(folder) == whole


@given(parting=st.integers(1, COUNT), more=st.integers(1, 2 * COUNT))
def test_two_histories_of_one_key_are_found_by_the_other_ones_checkpoint(parting: int, more: int) -> None:
    """Each verifies by itself; held against a checkpoint of the other that goes beyond where they part, it does not."""
    source, outside, whole = template()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(source, folder, dirs_exist_ok=True)
        records = [record[1:] for record in whole[0]]  # type: ignore[attr-defined]  # rows
        replace_records(folder, records[:parting])
        rehash(folder)
        resign(folder)
        continue_with(folder, more)
        assert verified(folder).ok
        report = verified(folder, outside)
        kinds = {fault.kind for fault in report.faults}
        if parting == COUNT:
            assert report.ok
        elif parting + more >= COUNT:
            assert {"root_wrong", "history_forked"} <= kinds
        else:
            assert "records_cut" in kinds


def continue_with(folder: Path, count: int) -> None:
    journal = Journal(SqliteStore(folder / "ledger.sqlite"), Checkpointing(SIGNER, folder / "checkpoints"))
    journal.open()
    journal.append([system_entry("another", number) for number in range(count)])
    journal.close()


def test_a_backup_put_back_is_not_continued_and_does_not_verify(tmp_path: Path) -> None:
    """The file is whole, signed and old: only what lies beside it and outside tells."""
    written(tmp_path, entries(20))
    shutil.copy(tmp_path / "ledger.sqlite", tmp_path / "backup")
    continue_with(tmp_path, 10)
    outside = latest_published(tmp_path / "checkpoints")
    shutil.copy(tmp_path / "backup", tmp_path / "ledger.sqlite")
    with pytest.raises(AuditError) as refused:
        continue_with(tmp_path, 1)
    assert refused.value.code == "audit_rolled_back"
    assert {fault.kind for fault in verified(tmp_path, outside).faults} == {"records_cut"}
    assert verified(tmp_path).ok
