"""A new ledger after a restored backup: what it says of the old one, and that a crash anywhere can be gone over again."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.sqlite import connection, deliveries
from adapters.sqlite.ledger import SqliteStore
from adapters.sqlite.place import LEDGER_FILE
from router.audit.checking.verify import Plan, verify
from router.audit.journal import Checkpointing, Journal
from router.audit.records.record import system_entry
from router.audit.tree.checkpoint import WITNESSED, Checkpoint, NoteSigner, latest_published, note_checkpoint
from router.errors import AuditError
from router.ports import Arrival, Delivery, Due
from router.wiring import carrying, recovery
from router.wiring.recovery import PREDECESSORS, Place, recover
from tests.unit.audit.ledgers import SIGNER, entries, reader, records_of, rehash, replace_records, run, verified, written

NEXT = NoteSigner("ledger.test/2", Ed25519PrivateKey.from_private_bytes(bytes(31) + b"2"))


def place(folder: Path) -> Place:
    return Place(folder, folder / "checkpoints")


def restored(folder: Path) -> str:
    """A ledger of 20 records where 30 were signed for; the checkpoint of those, as somebody elsewhere kept it."""
    written(folder, entries(20))
    shutil.copy(folder / LEDGER_FILE, folder / "backup")
    outside = written(folder, entries(10))
    shutil.copy(folder / "backup", folder / LEDGER_FILE)
    return outside


def first_details(folder: Path) -> dict[str, Any]:
    leaf = orjson.loads(records_of(folder)[0][0])
    assert (leaf["schema"], leaf["event"]) == ("lockgate.system.v1", "recovered")
    details: dict[str, Any] = leaf["details"]
    return details


def goes_on(folder: Path) -> None:
    journal = Journal(SqliteStore(folder / LEDGER_FILE), Checkpointing(NEXT, folder / "checkpoints"))
    journal.open()
    journal.append([system_entry("started", 1)])
    journal.close()
    report = verify(Plan(lambda: reader(folder), NEXT.verifier, latest_published(folder / "checkpoints"), processes=1))
    assert (report.ok, report.origin, report.size) == (True, NEXT.name, 2)


def test_the_first_record_embeds_the_last_known_checkpoint(tmp_path: Path) -> None:
    """Who reads the new ledger learns what went before and that ten records are missing; the old one verifies as far as it goes."""
    outside = restored(tmp_path)
    before, kept, _ = recover(place(tmp_path), NEXT, "restored", outside)
    said = first_details(tmp_path)
    assert said["reason"] == "restored"
    assert said["predecessor"] == {
        "origin": "ledger.test",
        "size": 20,
        "root": before.root.hex(),
        "checkpoint": outside,
        "relation": "behind",
    }
    assert verified(kept).ok
    assert kept.parent == tmp_path / PREDECESSORS
    assert list(tmp_path.glob("*.new*")) == []
    goes_on(tmp_path)


def test_the_newest_checkpoint_of_this_machine_is_taken_where_none_is_given(tmp_path: Path) -> None:
    """That from the directory, since the file came back from a backup."""
    restored(tmp_path)
    before, _, _ = recover(place(tmp_path), NEXT, "restored")
    assert note_checkpoint(before.note).size == 30
    assert before.relation == "behind"


def test_a_newer_checkpoint_of_this_machine_counts_beside_an_older_one_from_elsewhere(tmp_path: Path) -> None:
    """Else the first record would say for good that nothing is missing. Of a key that was stolen the newer may be the thief's."""
    for reason, size, relation in (("restored", 30, "behind"), ("key_stolen", 10, "covered")):
        folder = tmp_path / reason
        older = written(folder, entries(10))
        written(folder, entries(10))
        shutil.copy(folder / LEDGER_FILE, folder / "backup")
        written(folder, entries(10))
        shutil.copy(folder / "backup", folder / LEDGER_FILE)
        before, _, _ = recover(place(folder), NEXT, reason, older)
        assert (note_checkpoint(before.note).size, before.relation) == (size, relation)


def test_what_cannot_be_read_of_this_machine_does_not_stand_in_the_way_of_a_checkpoint_from_elsewhere(tmp_path: Path) -> None:
    outside = restored(tmp_path)
    (tmp_path / "checkpoints" / f"{99:016d}.checkpoint").write_bytes(b"\xff")
    before, _, _ = recover(place(tmp_path), NEXT, "restored", outside)
    assert (before.note, before.relation) == (outside, "behind")


@pytest.mark.parametrize("given", [True, False], ids=["from elsewhere", "of this machine"])
def test_a_strangers_checkpoint_neither_counts_nor_hides_one_that_does(tmp_path: Path, *, given: bool) -> None:
    """The first record would say for good that records are missing which there never were, or that fewer are."""
    outside = restored(tmp_path)
    stranger = NoteSigner(SIGNER.name, Ed25519PrivateKey.generate())
    far = Checkpoint(SIGNER.name, 10**15, bytes(32))
    (tmp_path / "checkpoints" / f"{far.size:016d}.checkpoint").write_text(stranger.sign(far.text()))
    going_on = NoteSigner(NEXT.name, Ed25519PrivateKey.from_private_bytes(bytes(32)))
    before, _, _ = recover(place(tmp_path), going_on, "restored", outside if given else None)
    assert (before.note, before.relation) == (outside, "behind")


def test_a_file_that_nobody_can_open_is_a_sentence_where_no_checkpoint_is_given(tmp_path: Path) -> None:
    """With one from elsewhere it stands in nobody's way."""
    outside = restored(tmp_path)
    (tmp_path / "checkpoints" / f"{99:016d}.checkpoint").symlink_to("nowhere")
    with pytest.raises(AuditError, match="cannot be read") as error:
        recover(place(tmp_path), NEXT, "restored")
    assert error.value.code == "checkpoint_invalid"
    assert recover(place(tmp_path), NEXT, "restored", outside)[0].note == outside


def test_the_ledgers_own_checkpoint_counts_beside_an_older_one_from_elsewhere(tmp_path: Path) -> None:
    """It may be in the file alone, and tell that records were cut off there; so it does where the key that goes on has signed both."""
    older = written(tmp_path, entries(10))
    shutil.copy(tmp_path / LEDGER_FILE, tmp_path / "backup")
    newer = written(tmp_path, entries(10))
    shutil.copy(tmp_path / "backup", tmp_path / LEDGER_FILE)
    shutil.rmtree(tmp_path / "checkpoints")
    run(tmp_path, ("INSERT INTO checkpoints VALUES (20, ?, 1)", (newer,)))
    going_on = NoteSigner(NEXT.name, Ed25519PrivateKey.from_private_bytes(bytes(32)))
    before, _, _ = recover(place(tmp_path), going_on, "restored", older)
    assert (before.note, before.size, before.relation) == (newer, 10, "behind")


def test_what_cannot_be_read_of_this_machine_does_not_hide_what_can(tmp_path: Path) -> None:
    """Beside a damaged file lies what witnesses confirmed."""
    older = written(tmp_path, entries(10))
    newer = restored(tmp_path)
    (tmp_path / "checkpoints" / WITNESSED).write_text(newer)
    (tmp_path / "checkpoints" / f"{99:016d}.checkpoint").write_bytes(b"\xff")
    before, _, _ = recover(place(tmp_path), NEXT, "restored", older)
    assert (before.note, before.relation) == (newer, "behind")


def test_a_whole_predecessor_is_called_covered_and_an_altered_one_different(tmp_path: Path) -> None:
    """A lost key is no reason to think less of the records; altered records are."""
    outside = written(tmp_path / "whole", entries(20))
    assert recover(place(tmp_path / "whole"), NEXT, "key_lost", outside)[0].relation == "covered"
    outside = written(tmp_path / "altered", entries(20))
    records = records_of(tmp_path / "altered")
    replace_records(tmp_path / "altered", [records[1], records[0], *records[2:]])
    rehash(tmp_path / "altered")
    assert recover(place(tmp_path / "altered"), NEXT, "damaged", outside)[0].relation == "differs"


def test_without_any_checkpoint_nothing_is_claimed(tmp_path: Path) -> None:
    """There may never have been one."""
    written(tmp_path, entries(3))
    run(tmp_path, "DELETE FROM checkpoints")
    shutil.rmtree(tmp_path / "checkpoints")
    before, _, _ = recover(place(tmp_path), NEXT, "restored")
    assert (before.note, before.relation) == ("", "")
    goes_on(tmp_path)


def test_what_lies_beside_the_records_goes_over(tmp_path: Path) -> None:
    """An event that was decided stays known, and a delivery that waits still goes out; the order of new ones comes after."""
    journal = Journal(SqliteStore(tmp_path / LEDGER_FILE), Checkpointing(SIGNER, tmp_path / "checkpoints"))
    journal.open()
    waiting = Delivery(
        "d1", "orders", "billing", Due.DISPATCH, "k", b"sealed", 1, 2, 3, b"lane", attempts=4, reason="status_503", tenant="lund"
    )
    journal.append([replace(system_entry("started", 1), arrival=Arrival(bytes(32), b"{}"), delivery=waiting)])
    journal.close()
    recover(place(tmp_path), NEXT, "restored")
    goes_on(tmp_path)
    store = SqliteStore(tmp_path / LEDGER_FILE)
    store.open(NEXT.name)
    assert store.answer(bytes(32)) == b"{}"
    assert [each.delivery for each in store.waiting(0, 9, None)] == [waiting]
    store.close()


def test_deliveries_of_an_earlier_format_go_over(tmp_path: Path) -> None:
    """A backup is often of the release before: what waits in it goes out, and is no tenant's."""
    journal = Journal(SqliteStore(tmp_path / LEDGER_FILE), Checkpointing(SIGNER, tmp_path / "checkpoints"))
    journal.open()
    waiting = Delivery("d1", "orders", "billing", Due.DISPATCH, "k", b"sealed", 1, 2, 3)
    journal.append([replace(system_entry("started", 1), delivery=waiting)])
    journal.close()
    run(tmp_path, "DROP INDEX deliveries_tenant")
    run(tmp_path, "ALTER TABLE deliveries DROP COLUMN tenant")
    recover(place(tmp_path), NEXT, "restored")
    store = SqliteStore(tmp_path / LEDGER_FILE)
    store.open(NEXT.name)
    assert [each.delivery for each in store.waiting(0, 9, None)] == [waiting]
    store.close()


def test_what_lies_beside_the_records_and_cannot_be_read_is_told(tmp_path: Path) -> None:
    """It was acknowledged, and is lost. Where the format is of before there was any, nothing is."""
    waits(tmp_path / "damaged", 8)
    run(tmp_path / "damaged", "DROP TABLE deliveries")
    carried = recover(place(tmp_path / "damaged"), NEXT, "damaged")[2]
    assert "deliveries that waited are not made" in " ".join(carrying.said(carried))
    waits(tmp_path / "first", 8)
    run(tmp_path / "first", "DROP TABLE deliveries", "DROP TABLE arrivals")
    carried = recover(place(tmp_path / "first"), NEXT, "restored")[2]
    assert "deliveries" not in " ".join(carrying.said(carried))


def waits(folder: Path, size: int) -> Delivery:
    """A ledger of one record with a delivery of `size` bytes."""
    journal = Journal(SqliteStore(folder / LEDGER_FILE), Checkpointing(SIGNER, folder / "checkpoints"))
    journal.open()
    waiting = Delivery("d1", "orders", "billing", Due.DISPATCH, "k", bytes(size), 1, 2, 3)
    journal.append([replace(system_entry("started", 1), delivery=waiting)])
    journal.close()
    return waiting


def waiting_in(folder: Path, origin: str) -> list[Delivery]:
    store = SqliteStore(folder / LEDGER_FILE)
    store.open(origin)
    try:
        return [each.delivery for each in store.waiting(0, 9, None)]
    finally:
        store.close()


def test_where_there_is_no_room_for_what_waits_no_ledger_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was acknowledged, and would be lost with a line in a log. With room again the same command takes it over."""
    waiting = waits(tmp_path, 2**20)

    class Small(connection.StandardConnection):
        def __init__(self, path: Path, mode: str = "rwc") -> None:
            super().__init__(path, mode)
            self.execute("PRAGMA max_page_count=100")

    with monkeypatch.context() as patch:
        patch.setattr(deliveries, "StandardConnection", Small)
        with pytest.raises(AuditError) as refused:
            recover(place(tmp_path), NEXT, "restored")
    assert refused.value.code == "audit_disk_full"
    assert waiting_in(tmp_path, SIGNER.name) == [waiting]
    recover(place(tmp_path), NEXT, "restored")
    assert waiting_in(tmp_path, NEXT.name) == [waiting]


def test_the_new_ledger_comes_into_its_place_with_all_that_is_in_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite says nothing where a log cannot be copied to its file when it is closed, as on a full disk; here somebody reads."""
    waiting, readers = waits(tmp_path, 8), list[Any]()

    def carried(before: Path, after: Path) -> bool:
        readers.append(sqlite3.connect(after, isolation_level=None))
        readers[0].execute("BEGIN")
        readers[0].execute("SELECT * FROM records").fetchone()
        return deliveries.carry_over(before, after)

    with monkeypatch.context() as patch:
        patch.setattr(recovery, "carry_over", carried)
        patch.setattr(connection, "BUSY_S", 0.1)
        with pytest.raises(AuditError) as refused:
            recover(place(tmp_path), NEXT, "restored")
    readers[0].close()
    assert refused.value.code == "audit_being_read"
    recover(place(tmp_path), NEXT, "restored")
    assert waiting_in(tmp_path, NEXT.name) == [waiting]


def test_the_same_name_again_is_refused(tmp_path: Path) -> None:
    """Two histories under one name are what this is there to prevent."""
    restored(tmp_path)
    with pytest.raises(AuditError) as refused:
        recover(place(tmp_path), SIGNER, "restored")
    assert refused.value.code == "audit_origin_unchanged"


def test_a_name_that_a_ledger_before_had_is_refused(tmp_path: Path) -> None:
    """It would be signed under a second time, and its own checkpoints would keep it from starting. The first record tells, and what was put
    aside does of those before."""
    written(tmp_path, entries(20))
    recover(place(tmp_path), NEXT, "restored")
    third = NoteSigner("ledger.test/3", Ed25519PrivateKey.from_private_bytes(bytes(31) + b"3"))
    for known in ("both", "put aside", "first record"):
        if known == "put aside":
            recover(place(tmp_path), third, "restored")
        if known == "first record":
            shutil.rmtree(tmp_path / "checkpoints")
        with pytest.raises(AuditError) as refused:
            recover(place(tmp_path), NEXT if known == "first record" else SIGNER, "restored")
        assert (refused.value.code, "before this one" in str(refused.value)) == ("audit_origin_unchanged", True), known
    assert reader(tmp_path).origin() == third.name


def test_a_checkpoint_of_another_ledger_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    """Evidence that does not belong here is not embedded."""
    restored(tmp_path)
    before = records_of(tmp_path)
    with pytest.raises(AuditError, match=r"The checkpoint is of ledger\.test/2"):
        recover(place(tmp_path), NEXT, "restored", NEXT.sign(f"{NEXT.name}\n1\n{'A' * 43}=\n"))
    assert (records_of(tmp_path), reader(tmp_path).origin()) == (before, SIGNER.name)


def test_a_ledger_in_use_is_left_alone(tmp_path: Path) -> None:
    """The writer's lock is taken first."""
    written(tmp_path, entries(3))
    journal = Journal(SqliteStore(tmp_path / LEDGER_FILE), Checkpointing(SIGNER, tmp_path / "checkpoints"))
    journal.open()
    with pytest.raises(AuditError) as refused:
        recover(place(tmp_path), NEXT, "restored")
    assert refused.value.code == "audit_locked"
    journal.close()


def test_one_that_is_being_read_is_left_alone(tmp_path: Path) -> None:
    """Its write-ahead log goes by its name: a new file there would get the old one's last records, and the old one would lose them. Who has
    it open and does not read just now would be shown the new ledger's pages as the old one's."""
    outside = written(tmp_path, entries(20))
    copy = tmp_path / "left"
    copy.mkdir()
    for file in tmp_path.glob(f"{LEDGER_FILE}*"):
        shutil.copy(file, copy)
    readers = [reader(tmp_path), reader(tmp_path)]
    export: Any = readers[0].records(0, 20)
    next(export)
    journal = Journal(SqliteStore(tmp_path / LEDGER_FILE), Checkpointing(SIGNER, tmp_path / "checkpoints"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "BUSY_S", 0.1)
        journal.open()
        journal.append(entries(5))
        journal.close()
        for each in readers:
            with pytest.raises(AuditError) as refused:
                recover(place(tmp_path), NEXT, "key_lost", outside)
            assert refused.value.code == "audit_being_read"
            assert verified(tmp_path).size == 25
            export.close()
            each.close()
        with closing(sqlite3.connect(tmp_path / LEDGER_FILE, isolation_level=None)) as late:  # after what the first attempt has changed
            late.execute("BEGIN")
            late.execute("SELECT * FROM records").fetchone()
            with pytest.raises(AuditError) as refused:
                recover(place(tmp_path), NEXT, "key_lost", outside)
            assert refused.value.code == "audit_being_read"
    before, kept, _ = recover(place(tmp_path), NEXT, "key_lost", outside)
    assert (before.size, verified(kept).size) == (25, 25)
    goes_on(tmp_path)


def test_what_a_killed_process_left_in_the_log_is_kept(tmp_path: Path) -> None:
    """Also where somebody reads while the next one opens the ledger, so that it cannot be copied to the file at once."""
    (tmp_path / "source").mkdir()
    journal = Journal(SqliteStore(tmp_path / "source" / LEDGER_FILE), Checkpointing(SIGNER, tmp_path / "checkpoints"))
    journal.open()
    journal.append(entries(20))
    for file in (tmp_path / "source").glob(f"{LEDGER_FILE}*"):
        if not file.name.endswith("shm"):
            shutil.copy(file, tmp_path)
    journal.close()
    assert (tmp_path / f"{LEDGER_FILE}-wal").stat().st_size
    _, kept, _ = recover(place(tmp_path), NEXT, "key_lost")
    assert verified(kept).size == 20
    assert not list(kept.glob("*-wal"))
    goes_on(tmp_path)


def test_other_folders_beside_the_checkpoints_are_not_looked_at(tmp_path: Path) -> None:
    """Such as what a volume has at its root, or somebody's own copies."""
    restored(tmp_path)
    other = tmp_path / "checkpoints" / "lost+found"
    other.mkdir()
    (other / "1.checkpoint").write_text("no note")
    before, _, _ = recover(place(tmp_path), NEXT, "restored")
    assert (before.relation, note_checkpoint(before.note).size) == ("behind", 30)


def test_what_witnesses_confirmed_goes_aside_with_the_checkpoints(tmp_path: Path) -> None:
    """It is the old ledger's: the new one would be held against it, and not open."""
    note = written(tmp_path, entries(20))
    checkpoints = tmp_path / "checkpoints"
    (checkpoints / WITNESSED).write_text(note)
    before, _, _ = recover(place(tmp_path), NEXT, "key_lost")
    assert not (checkpoints / WITNESSED).exists()
    assert (checkpoints / before.name / WITNESSED).read_text() == note
    goes_on(tmp_path)


def test_checkpoints_of_two_ledgers_in_one_directory_are_told(tmp_path: Path) -> None:
    """Each would say that the other was cut, or altered."""
    written(tmp_path, entries(20))
    store = SqliteStore(tmp_path / "other" / LEDGER_FILE)
    with pytest.raises(AuditError, match=r"A checkpoint of ledger\.test lies where those of ledger\.test/2 belong"):
        Journal(store, Checkpointing(NEXT, tmp_path / "checkpoints")).open()


class PowerCut(BaseException):
    pass


def test_who_goes_back_to_the_old_name_is_held_against_what_was_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recovery that was broken off, or refused, has taken the checkpoints away that tell of the newer records; folders of other ledgers
    that cannot be read keep nobody from anything."""

    def cut(*_: Any) -> None:
        raise PowerCut

    restored(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda file, to: cut() if file.name.endswith(".new") else os.replace(file, to))
        with pytest.raises(PowerCut):
            recover(place(tmp_path), NEXT, "restored")
    assert list((tmp_path / "checkpoints").glob("*.checkpoint")) == []
    with pytest.raises(AuditError) as refused:
        Journal(SqliteStore(tmp_path / LEDGER_FILE), Checkpointing(SIGNER, tmp_path / "checkpoints")).open()
    assert refused.value.code == "audit_rolled_back"
    recover(place(tmp_path), NEXT, "restored")
    other = tmp_path / "checkpoints" / f"{5:016d}-{0:016x}"
    other.mkdir()
    (other / "5.checkpoint").write_bytes(b"\xff")
    goes_on(tmp_path)


@pytest.mark.parametrize("given", [True, False], ids=["given", "found"])
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(18))
def test_a_crash_at_any_step_is_gone_over_by_giving_the_command_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, done: bool, given: bool
) -> None:
    """Before or after every rename, link, sync and removal: afterwards there is one new ledger, which says what is missing, and the old one
    is kept whole. The checkpoint is found also where the first attempt put it aside."""
    outside = restored(tmp_path)
    note = outside if given else None
    count = iter(range(1000))

    def breaking(call: Any) -> Any:
        def called(*arguments: Any, **more: Any) -> Any:
            now = next(count) == step
            if now and not done:
                raise PowerCut
            result = call(*arguments, **more)
            if now:
                raise PowerCut
            return result

        return called

    with monkeypatch.context() as patch:
        for owner, name in ((Path, "replace"), (Path, "hardlink_to"), (Path, "unlink"), (os, "fsync"), (os, "link")):
            patch.setattr(owner, name, breaking(getattr(owner, name)))
        try:
            recover(place(tmp_path), NEXT, "restored", note)
        except PowerCut:
            crashed = True
        else:
            crashed = False
    if crashed and reader(tmp_path).origin() != NEXT.name:
        recover(place(tmp_path), NEXT, "restored", note)
    said = first_details(tmp_path)["predecessor"]
    assert (said["checkpoint"], said["relation"]) == (outside, "behind")
    kept = list((tmp_path / PREDECESSORS).iterdir())
    assert len(kept) == 1
    assert verified(kept[0]).size == 20
    goes_on(tmp_path)
