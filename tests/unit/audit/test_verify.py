from __future__ import annotations

import atexit
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.sqlite.ledger import SqliteStore
from adapters.sqlite.reader import SqliteReader
from router.audit.checking.verify import Plan, verify
from router.audit.journal import Checkpointing, Journal
from router.audit.questions.reader import Stored
from router.audit.records.canonical import canonical
from router.audit.records.record import decision_entry, system_entry, withheld
from router.audit.records.sealing import seal, sealed_digest
from router.audit.tree.checkpoint import NoteSigner, every_readable_note
from router.errors import AuditError
from router.ports import Entry
from tests.unit.audit.ledgers import (
    SIGNER,
    entries,
    reader,
    records_of,
    rehash,
    replace_records,
    resign,
    run,
    verified,
    written,
)
from tests.unit.audit.samples import KEY, KEY_ID, numbered

COUNT = 60
Record = tuple[bytes, bytes, str]
Tampering = Callable[[list[Record], int, int], int]


def edit(records: list[Record], at: int, _: int) -> int:
    leaf, sealed, key_id = records[at]
    records[at] = (leaf.replace(b'"time":"2025', b'"time":"2024'), sealed, key_id)
    return at


def delete(records: list[Record], at: int, _: int) -> int:
    del records[at]
    return at


def insert(records: list[Record], at: int, other: int) -> int:
    leaf, sealed, key_id = records[other]
    records.insert(at, (leaf.replace(b'"time":"2025', b'"time":"2023'), sealed, key_id))
    return at


def swap(records: list[Record], at: int, other: int) -> int:
    records[at], records[other] = records[other], records[at]
    return min(at, other)


def cut(records: list[Record], at: int, _: int) -> int:
    del records[at:]
    return at


TAMPERINGS = st.sampled_from([edit, delete, insert, swap, cut])
PLACES = st.integers(0, COUNT - 1)


@cache
def template() -> tuple[Path, str]:
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    return folder, written(folder, entries(COUNT))


def copied(folder: Path) -> str:
    """A whole ledger, and the checkpoint kept outside."""
    source, outside = template()
    shutil.copytree(source, folder, dirs_exist_ok=True)
    return outside


@settings(max_examples=40, deadline=None)
@given(tampering=TAMPERINGS, at=PLACES, other=PLACES)
def test_tampering_with_records_is_found_and_the_first_bad_one_named(tampering: Tampering, at: int, other: int) -> None:
    """Edit, delete, insert, reorder, cut: stored leaf hashes give the very record away."""
    with tempfile.TemporaryDirectory() as name:
        outside = copied(Path(name))
        records = records_of(Path(name))
        before = list(records)
        bad = tampering(records, at, other)
        replace_records(Path(name), records)
        report = verified(Path(name), outside)
        assert report.ok is (records == before)
        if records != before:
            assert report.first_bad is not None
            assert (report.first_bad.index, report.first_bad.until) == (bad, None)


@settings(max_examples=40, deadline=None)
@given(tampering=TAMPERINGS, at=PLACES, other=PLACES, resigned=st.booleans())
def test_tampering_that_makes_the_whole_file_agree_is_found_by_the_outside_checkpoint(
    tampering: Tampering, at: int, other: int, resigned: bool
) -> None:
    """Even the holder of the signing key cannot make another tree agree with a checkpoint that is elsewhere."""
    with tempfile.TemporaryDirectory() as name:
        outside = copied(Path(name))
        records = records_of(Path(name))
        before = list(records)
        bad = tampering(records, at, other)
        replace_records(Path(name), records)
        rehash(Path(name))
        if resigned:
            resign(Path(name))
        report = verified(Path(name), outside)
        assert report.ok is (records == before)
        if records != before:
            assert report.first_bad is not None
            assert report.first_bad.index <= bad
            assert report.first_bad.until is None or bad < report.first_bad.until


def test_a_whole_ledger_is_ok_and_says_what_it_was_held_against(tmp_path: Path) -> None:
    """All checkpoints agree, the outside one too."""
    report = verified(tmp_path, written(tmp_path, entries(COUNT)))
    assert report.ok
    assert (report.size, report.outside, report.held_against[:3]) == (COUNT, COUNT, [20, 40, 60])


def test_without_an_outside_checkpoint_the_report_says_what_it_cannot_exclude(tmp_path: Path) -> None:
    """A complete rewrite by the holder of the key looks fine, and the report says so in words."""
    written(tmp_path, entries(COUNT))
    replace_records(tmp_path, records_of(tmp_path)[:30])
    rehash(tmp_path)
    resign(tmp_path)
    report = verified(tmp_path)
    assert report.ok
    assert any("signing key rewrote" in sentence for sentence in report.unproven)


def test_records_after_the_last_checkpoint_are_called_unproven(tmp_path: Path) -> None:
    """A signature speaks for no more than it covers."""
    written(tmp_path, entries(COUNT))
    run(tmp_path, "DELETE FROM checkpoints WHERE size > 40")
    report = verified(tmp_path)
    assert report.ok
    assert any("Records 40 to 59 are newer" in sentence for sentence in report.unproven)


def test_commits_narrow_a_difference_down(tmp_path: Path) -> None:
    """Where a tamperer mends leaf hashes only, the commit that no longer fits names five records out of sixty."""
    written(tmp_path, entries(COUNT))
    records = records_of(tmp_path)
    edit(records, 33, 0)
    replace_records(tmp_path, records)
    with_commits = _rows(tmp_path, "SELECT size, root FROM commits")
    rehash(tmp_path)
    run(tmp_path, "DELETE FROM commits", *(("INSERT INTO commits VALUES (?,?)", row) for row in with_commits))
    first = verified(tmp_path).first_bad
    assert first is not None
    assert (first.index, first.until) == (30, 35)


def _rows(folder: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as file:
        return file.execute(sql).fetchall()


@pytest.mark.parametrize(
    ("statement", "kind", "index"),
    [
        ("UPDATE records SET sealed = zeroblob(40) WHERE idx = 8", "sealed_altered", 8),
        ("UPDATE records SET key_id = 'other' WHERE idx = 8", "sealed_altered", 8),
        ("UPDATE records SET sealed = x'' WHERE idx = 9", "sealed_missing", 9),
        ("UPDATE leaf_hashes SET hash = zeroblob(32) WHERE idx = 4", "leaf_altered", 4),
        ("UPDATE checkpoints SET note = replace(note, 'ledger.test', 'ledger.tent') WHERE size = 20", "checkpoint_invalid", 60),
        ("INSERT INTO records SELECT 60, leaf, sealed, key_id FROM records WHERE idx = 3", "record_uncommitted", 60),
        ("UPDATE commits SET root = zeroblob(32) WHERE size = 60", "root_wrong", 0),
        ("DELETE FROM records WHERE idx = 11", "record_missing", 11),
        ("UPDATE records SET leaf = 'text' WHERE idx = 12", "leaf_altered", 12),
        ("UPDATE records SET sealed = 7, key_id = 8 WHERE idx = 12", "sealed_altered", 12),
        ("UPDATE checkpoints SET note = x'00' WHERE size = 20", "checkpoint_invalid", 60),
    ],
)
def test_each_kind_of_damage_has_a_name(tmp_path: Path, statement: str, kind: str, index: int) -> None:
    """Sealed parts, hashes, checkpoints and commits are all held against something."""
    written(tmp_path, entries(COUNT))
    run(tmp_path, statement)
    report = verified(tmp_path)
    assert (kind, index) in {(fault.kind, fault.index) for fault in report.faults}


@pytest.mark.parametrize(
    "leaf",
    [
        b'{"schema": "lockgate.system.v1"}',
        b'{"schema":"other.v1"}',
        b'{"schema":["lockgate.system.v1"]}',
        b'{"schema":"lockgate.system.v1","x":0.5}',
        b'{"schema":"lockgate.system.v1","x":' + b"[" * 300 + b"]" * 300 + b"}",
        b'{"schema":"lockgate.system.v1","x":"' + b"x" * 65_535 + b'"}',
        b"{x}",
    ],
    ids=lambda leaf: leaf[:40].decode(),
)
def test_a_leaf_that_breaks_the_schema_is_named_even_when_its_hash_fits(tmp_path: Path, leaf: bytes) -> None:
    """Form is checked apart from the hash."""
    written(tmp_path, entries(10))
    records = records_of(tmp_path)
    records[6] = (leaf, b"", "")
    replace_records(tmp_path, records)
    rehash(tmp_path)
    assert ("leaf_malformed", 6) in {(fault.kind, fault.index) for fault in verified(tmp_path).faults}


class OneKey:
    def __init__(self, key: bytes | None) -> None:
        self._key = key

    def key(self, key_id: str) -> bytes | None:
        return self._key if key_id == KEY_ID else None

    def close(self) -> None: ...


def test_with_keys_every_commitment_is_checked(tmp_path: Path) -> None:
    """Each personal part opens and is what its leaf commits to."""
    report = verified(tmp_path, written(tmp_path, entries(COUNT)), open_keys=partial(OneKey, KEY))
    assert (report.ok, report.opened, report.erased) == (True, COUNT, 0)


def test_a_personal_part_that_its_leaf_does_not_commit_to_is_a_fault(tmp_path: Path) -> None:
    """Whoever wrote leaf and sealed part together could say one thing in public and keep another; who has the key sees it."""
    made = entries(10)
    leaf, other = json.loads(made[6].leaf), {"text": "something else"}
    sealed = seal(KEY, leaf["schema"], leaf["id"], other)
    lying = canonical({**leaf, "sealed": sealed_digest(KEY_ID, sealed)})
    written(tmp_path, [*made[:6], Entry(lying, sealed, KEY_ID), *made[7:]])
    assert verified(tmp_path).ok
    assert [(each.kind, each.index) for each in verified(tmp_path, open_keys=partial(OneKey, KEY)).faults] == [("commitment_wrong", 6)]


def test_a_wrong_key_is_a_fault_and_an_erased_key_is_not(tmp_path: Path) -> None:
    """Erasure leaves every proof standing."""
    erasure = system_entry("subject_erased", 1, {"key_id": KEY_ID, "reason": "gdpr_art_17", "order": 0, "records": COUNT, "up_to": COUNT})
    written(tmp_path, [*entries(COUNT), erasure])
    erased = verified(tmp_path, open_keys=partial(OneKey, None))
    assert (erased.ok, erased.erased) == (True, COUNT)
    wrong = verified(tmp_path, open_keys=partial(OneKey, bytes(32)))
    assert {fault.kind for fault in wrong.faults} == {"sealed_unreadable", "erased_present"}


ERASURE = system_entry("subject_erased", 1, {"key_id": KEY_ID, "reason": "gdpr_art_17"})
CARRIED = system_entry("erasure_carried_over", 1, {"key_id": KEY_ID, "reason": "gdpr_art_17", "from": {"keys": 1}})
FOUND = system_entry("erased_keys_found", 1, {"reason": "older_keys", "count": 1, "key_ids": ["other", KEY_ID], "compared": 0})
REPEATED = system_entry("erasure_repeated", 1, {"key_id": KEY_ID, "erasure": 1})
OTHERS = [
    system_entry("erased_keys_found", 1, {"reason": "older_keys", "count": 1, "key_ids": ["other"], "compared": 0}),
    system_entry("erasure_repeated", 1, {"key_id": "other", "erasure": 1}),
    system_entry("erased_keys_found", 1, {"key_ids": None}),
    system_entry("erasure_repeated", 1, {"of": "nobody"}),
    system_entry("subject_erased", 1, {"key_id": ""}),
]
SEALED, OUTCOME = entries(2)
WITHHELD = Entry(withheld(SEALED.leaf))
ANOTHERS = decision_entry(numbered(9), b"{}", "7a" * 16, bytes(32))


@pytest.mark.parametrize(
    ("records", "first"),
    [
        ([SEALED, ERASURE, OUTCOME], 2),
        ([SEALED, CARRIED, SEALED, OUTCOME], 2),
        ([SEALED, ERASURE, WITHHELD, *OTHERS, OUTCOME, SEALED], 8),
        ([SEALED, ERASURE, OUTCOME, REPEATED, OUTCOME], 4),
        ([SEALED, ERASURE, OUTCOME, FOUND, SEALED, REPEATED, SEALED], 6),
        ([SEALED, ERASURE, OUTCOME, ERASURE], 2),
    ],
)
@pytest.mark.parametrize("chunk", [1, 2, 8192])
def test_what_is_sealed_under_a_destroyed_key_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: list[Entry], first: int, chunk: int
) -> None:
    """Somebody kept a copy, whether or not anybody has keys to look."""
    monkeypatch.setattr("router.audit.checking.verify.CHUNK", chunk)
    written(tmp_path, records)
    for keys in (None, partial(OneKey, None)):
        (fault,) = [fault for fault in verified(tmp_path, open_keys=keys).faults if fault.kind != "order_malformed"]
        assert (fault.kind, fault.index) == ("sealed_after_erasure", first)
        assert "that record 1 says was destroyed" in fault.message


@pytest.mark.parametrize(
    "records",
    [
        [SEALED, OUTCOME, ERASURE, WITHHELD, ANOTHERS],
        [SEALED, ERASURE, SEALED, FOUND, OUTCOME, REPEATED, WITHHELD],
        [SEALED, ERASURE, SEALED, REPEATED],
        [SEALED, ERASURE, SEALED, FOUND, OUTCOME],
        [SEALED, ERASURE, FOUND, OUTCOME, REPEATED, FOUND, SEALED, REPEATED],
    ],
)
@pytest.mark.parametrize("chunk", [1, 2, 8192])
def test_a_key_that_was_there_again_is_excused_by_the_record_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: list[Entry], chunk: int
) -> None:
    """An old copy of the keys was used until it was noticed; a crash may have left only the first of the two records."""
    monkeypatch.setattr("router.audit.checking.verify.CHUNK", chunk)
    written(tmp_path, records)
    assert verified(tmp_path).ok


def test_what_no_checkpoint_covers_accuses_and_excuses_nobody(tmp_path: Path) -> None:
    """Whoever can only write to the file could have added either."""
    written(tmp_path, [SEALED, ERASURE, ANOTHERS, OUTCOME, REPEATED], batch=1, checkpoint_every=1)
    run(tmp_path, "DELETE FROM checkpoints WHERE size > 4")
    assert [fault.kind for fault in verified(tmp_path).faults] == ["sealed_after_erasure"]
    run(tmp_path, "DELETE FROM checkpoints WHERE size > 3")
    assert verified(tmp_path).ok


def test_a_key_that_is_gone_without_a_record_is_a_fault(tmp_path: Path) -> None:
    """Who deletes a key behind the ledger's back leaves a hole that nobody answers for."""
    written(tmp_path, entries(COUNT))
    report = verified(tmp_path, open_keys=partial(OneKey, None))
    assert [(fault.index, fault.kind) for fault in report.faults] == [(0, "key_missing")]


def test_an_outside_checkpoint_by_another_key_is_refused(tmp_path: Path) -> None:
    """Evidence that does not hold is not used."""
    outside = written(tmp_path, entries(10))
    other = NoteSigner("ledger.test", Ed25519PrivateKey.generate())
    with pytest.raises(AuditError, match="no signature by"):
        verify(Plan(partial(reader, tmp_path), other.verifier, outside))


@pytest.mark.parametrize("note", ["NULL", "x'78'", "7", "''"])
def test_a_checkpoint_that_is_no_text_any_more_is_found(tmp_path: Path, note: str) -> None:
    """As a byte of the file may make it, for all that the table demands; the ledger does not go on from it either."""
    outside = written(tmp_path, entries(20))
    loose = "CREATE TABLE loose (size INTEGER PRIMARY KEY, note TEXT, at_ns INTEGER)"
    run(tmp_path, loose, "INSERT INTO loose SELECT * FROM checkpoints", f"UPDATE loose SET note = {note}", "DROP TABLE checkpoints")
    run(tmp_path, "ALTER TABLE loose RENAME TO checkpoints")
    report = verified(tmp_path, outside)
    assert {fault.kind for fault in report.faults} == {"checkpoint_invalid"}
    with pytest.raises(AuditError):
        Journal(SqliteStore(tmp_path / "ledger.sqlite"), Checkpointing(SIGNER)).open()


@pytest.mark.parametrize("kind", ["pipe", "long"])
def test_what_is_no_checkpoints_file_is_neither_waited_for_nor_read_without_end(tmp_path: Path, kind: str) -> None:
    """Whoever may write to the directory could keep a ledger from starting, and from being verified, and nothing would say why."""
    outside, file = written(tmp_path, entries(20)), tmp_path / "checkpoints" / f"{99:016d}.checkpoint"
    if kind == "pipe":
        os.mkfifo(file)
    else:
        file.write_text(outside)
        os.truncate(file, 2**40)
    report = verified(tmp_path, outside, beside=partial(every_readable_note, tmp_path / "checkpoints"))
    assert [(fault.kind, file.name in fault.message) for fault in report.faults] == [("checkpoint_invalid", True)]
    with pytest.raises(AuditError) as refused:
        Journal(SqliteStore(tmp_path / "ledger.sqlite"), Checkpointing(SIGNER, tmp_path / "checkpoints")).open()
    assert refused.value.code == "checkpoint_invalid"


def test_a_checkpoint_of_another_log_does_not_verify(tmp_path: Path) -> None:
    """One name, one log."""
    written(tmp_path, entries(10))
    other = NoteSigner("other.test", Ed25519PrivateKey.generate())
    note = other.sign(f"other.test\n10\n{'A' * 43}=\n")
    report = verify(Plan(partial(reader, tmp_path), other.verifier, note, processes=1))
    assert "origin_wrong" in {fault.kind for fault in report.faults}


def test_an_empty_ledger_verifies(tmp_path: Path) -> None:
    """Nothing was written and nothing is wrong."""
    written(tmp_path, [])
    assert verified(tmp_path).ok


def test_a_missing_ledger_is_said_in_one_sentence(tmp_path: Path) -> None:
    """No traceback for a wrong directory."""
    with pytest.raises(AuditError, match="There is no ledger at"):
        verified(tmp_path)


def test_several_processes_find_what_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checking side by side changes nothing but the time it takes."""
    monkeypatch.setattr("router.audit.checking.verify.CHUNK", 16)
    monkeypatch.setattr("router.audit.checking.verify.PARALLEL_FROM", 16)
    outside = written(tmp_path, entries(COUNT))
    run(tmp_path, "UPDATE records SET sealed = x'00' WHERE idx IN (17, 50)")
    report = verify(Plan(partial(reader, tmp_path), SIGNER.verifier, outside, processes=2))
    assert [(fault.kind, fault.index) for fault in report.faults] == [("sealed_altered", 17), ("sealed_altered", 50)]
    assert report.outside == COUNT


def test_a_file_with_a_broken_page_is_a_fault_and_not_a_crash(tmp_path: Path) -> None:
    """The first record that cannot be read is named."""
    written(tmp_path, entries(COUNT))
    file = tmp_path / "ledger.sqlite"
    raw = bytearray(file.read_bytes())
    (page, _), *_ = _rows(tmp_path, "SELECT rootpage, name FROM sqlite_master WHERE name = 'records'")
    raw[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    file.write_bytes(raw)
    report = verified(tmp_path)
    assert "file_damaged" in {fault.kind for fault in report.faults}


def test_a_hash_above_the_leaves_that_is_not_theirs_is_found(tmp_path: Path) -> None:
    """No root is computed from it here, but every proof is made with it."""
    written(tmp_path, entries(600), batch=200, checkpoint_every=200)
    assert verified(tmp_path).faults == []
    run(tmp_path, "UPDATE nodes SET hash = zeroblob(32) WHERE idx = 1")
    assert [(fault.kind, fault.index, fault.until) for fault in verified(tmp_path).faults] == [("node_altered", 256, 512)]
    run(tmp_path, "DELETE FROM nodes WHERE idx = 1")
    assert [(fault.kind, fault.index, fault.until) for fault in verified(tmp_path).faults] == [("node_altered", 256, 512)]


@pytest.mark.parametrize("at", [3, COUNT - 1])
def test_a_hash_that_a_damaged_byte_made_none_is_found_and_keeps_a_node_from_starting(tmp_path: Path, at: int) -> None:
    """In a sentence."""
    written(tmp_path, entries(COUNT))
    run(
        tmp_path,
        "CREATE TABLE damaged AS SELECT * FROM leaf_hashes",
        "DROP TABLE leaf_hashes",
        "ALTER TABLE damaged RENAME TO leaf_hashes",
        f"UPDATE leaf_hashes SET hash = NULL WHERE idx = {at}",
    )
    assert [(fault.kind, fault.index) for fault in verified(tmp_path).faults] == [("leaf_altered", at)]
    with pytest.raises(AuditError) as error:
        Journal(SqliteStore(tmp_path / "ledger.sqlite"), Checkpointing(SIGNER, tmp_path / "checkpoints")).open()
    assert error.value.code == "audit_tree_broken"


class Growing(SqliteReader):
    """A reader of a ledger that grows, and signs, before every answer."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "ledger.sqlite", Stored)
        self.folder = folder

    def grow(self) -> None:
        written(self.folder, entries(3), batch=1, checkpoint_every=1)

    def checkpoints(self) -> list[str]:
        self.grow()
        return super().checkpoints()

    def last_commit(self) -> tuple[int, bytes]:
        self.grow()
        return super().last_commit()

    def records(self, start: int, end: int) -> Iterator[Any]:
        self.grow()
        return super().records(start, end)


def test_a_ledger_that_grows_while_it_is_verified_is_ok(tmp_path: Path) -> None:
    """Verification runs beside the server and speaks for what was there when it began."""
    written(tmp_path, entries(COUNT))
    report = verify(Plan(partial(Growing, tmp_path), SIGNER.verifier, processes=1))
    assert report.faults == []
    assert report.size > COUNT


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (("ALTER TABLE records RENAME TO kept", "CREATE VIEW records AS SELECT * FROM kept"), "view"),
        (("CREATE TRIGGER follows AFTER INSERT ON commits BEGIN DELETE FROM checkpoints; END",), "trigger"),
    ],
)
def test_what_computes_an_answer_is_no_part_of_a_ledger(tmp_path: Path, made: tuple[str, ...], kind: str) -> None:
    """A view can say what was written while it is verified, and something else in the next hour."""
    written(tmp_path, entries(20))
    run(tmp_path, *made)
    (fault,) = verified(tmp_path).faults
    assert (fault.kind, f"It has a {kind} named" in fault.message) == ("file_damaged", True)
