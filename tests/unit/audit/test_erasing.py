from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.sqlite.subject_keys import KeyFile
from router.audit.governance.erasing import why_found
from router.audit.governance.facts import Facts
from router.audit.governance.standing import FOUND, but_destroyed, standing_now
from router.audit.journal import Journal
from router.audit.keys.comparing import Compared
from router.audit.records.record import open_personal, system_entry
from router.audit.tree.checkpoint import NoteVerifier
from router.audit.tree.merkle import leaf_hash, verify_inclusion
from router.errors import AuditError
from router.ports import Entry
from tests.unit.audit.governed import OFFICER, SEALING_KEY, Place, running
from tests.unit.audit.ledgers import SIGNER, verified
from tests.unit.audit.samples import SUBJECT

REASON = "gdpr_art_17"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with running(tmp_path) as made:
        await made.decide(1, 2, 3)
        yield made


async def refused(attempt: object) -> AuditError:
    with pytest.raises(AuditError) as error:
        await attempt  # type: ignore[misc]  # any awaitable
    return error.value


def wrapped(folder: Path, key_id: str) -> bytes:
    with closing(sqlite3.connect(folder / "keys.sqlite")) as file:
        found: bytes = file.execute("SELECT wrapped FROM keys WHERE key_id = ?", (key_id,)).fetchone()[0]
    return found


def on_disk(folder: Path, needle: bytes) -> list[str]:
    return [file.name for file in sorted(folder.glob("keys.sqlite*")) if needle in file.read_bytes()]


async def test_the_key_is_in_no_file_afterwards(place: Place) -> None:
    """Neither its row nor its old place nor the write-ahead log holds the wrapped bytes."""
    key_id, _ = await place.keys.key_for(SUBJECT.id)
    needle = wrapped(place.folder, key_id)
    assert on_disk(place.folder, needle)
    await place.erasing.erase(SUBJECT.id, REASON, OFFICER)
    assert on_disk(place.folder, needle) == []
    assert await place.keys.key(key_id) is None
    assert await place.keys.find(SUBJECT.id) is None


async def test_the_record_says_what_and_how_much_and_nothing_personal(place: Place) -> None:
    """Key id, reason, order, how many records up to where; who ordered it is sealed under that person's key."""
    key_id, _ = await place.keys.key_for(SUBJECT.id)
    receipt = await place.erasing.erase(SUBJECT.id, REASON, OFFICER)
    (ordered,) = place.leaves("erasure_ordered")
    (erased,) = place.leaves("subject_erased")
    assert receipt.leaf == erased
    assert ordered["details"] == {"key_id": key_id, "reason": REASON}
    assert erased["details"] == {"key_id": key_id, "reason": REASON, "order": 6, "records": 6, "up_to": 7}
    assert erased["id"] == ordered["id"]
    assert set(erased["commitments"]) == {"ordered_by", "authority", "case"}
    everything = b"".join(stored.leaf for stored in place.facts.reader.records(0, 100))
    assert not any(word.encode() in everything for word in (SUBJECT.id, OFFICER.by, "Olga", OFFICER.case))
    stored = place.facts.stored(receipt.index)
    officer = await place.keys.key(stored.key_id)
    assert officer is not None
    opened = open_personal(Entry(stored.leaf, stored.sealed, stored.key_id), officer)
    assert opened == {"ordered_by": OFFICER.by, "authority": OFFICER.authority, "case": OFFICER.case}


async def test_the_answer_is_signed(place: Place) -> None:
    """A checkpoint over the record is signed at once, and the answer holds the record's proof in it."""
    receipt = await place.erasing.erase(SUBJECT.id, REASON, OFFICER)
    checkpoint = NoteVerifier(SIGNER.verifier).open_checkpoint(receipt.checkpoint or "")
    leaf = place.facts.stored(receipt.index).leaf
    assert verify_inclusion(leaf_hash(leaf), receipt.index, checkpoint.size, receipt.inclusion, checkpoint.root)


async def test_what_no_checkpoint_covers_yet_says_so(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record stands and the key is gone; only the proof of it has to be asked for again."""
    monkeypatch.setattr(Journal, "sign_checkpoint", lambda *_, **__: False)
    assert (await refused(place.erasing.erase(SUBJECT.id, REASON, OFFICER))).code == "audit_unsigned"
    assert len(place.leaves("subject_erased")) == 1
    assert await place.keys.find(SUBJECT.id) is None


async def test_a_record_that_is_not_there_is_named(place: Place) -> None:
    """A hole in the ledger is never read as nothing."""
    with pytest.raises(AuditError) as error:
        place.facts.stored(place.facts.reader.size())
    assert error.value.code == "audit_record_missing"


async def test_everybody_else_is_told_before_it_is_said(place: Place) -> None:
    """Workers forget the key and held requests end."""
    key_id, _ = await place.keys.key_for(SUBJECT.id)
    await place.erasing.erase(SUBJECT.id, REASON, OFFICER)
    assert place.around.told == [f"forget {key_id}", f"drop {key_id}"]


async def test_the_same_person_gets_a_fresh_key(place: Place) -> None:
    """Who comes again is somebody new to the ledger, and can be erased again."""
    before = await place.keys.key_for(SUBJECT.id)
    await place.erasing.erase(SUBJECT.id, REASON, OFFICER)
    after = await place.keys.key_for(SUBJECT.id)
    assert after[0] != before[0]
    assert after[1] != before[1]
    await place.decide(9)
    receipt = await place.erasing.erase(SUBJECT.id, REASON, OFFICER)
    assert (receipt.leaf["details"]["key_id"], receipt.leaf["details"]["records"]) == (after[0], 2)


async def test_somebody_else_stays_readable(place: Place) -> None:
    """One key, one subject."""
    bo = await place.keys.key_for("bo")
    await place.erasing.erase(SUBJECT.id, REASON, OFFICER)
    assert await place.keys.key(bo[0]) == bo[1]


async def test_whom_nobody_knows_is_refused_and_nothing_is_written(place: Place) -> None:
    """One sentence, also for the second time: erasing is idempotent."""
    size = place.ledger.size
    assert (await refused(place.erasing.erase("nobody", REASON, OFFICER))).code == "subject_unknown"
    assert place.ledger.size == size
    await place.erasing.erase(SUBJECT.id, REASON, OFFICER)
    size = place.ledger.size
    assert (await refused(place.erasing.erase(SUBJECT.id, REASON, OFFICER))).code == "subject_unknown"
    assert place.ledger.size == size


@pytest.mark.parametrize(
    ("reason", "by", "code"), [("Because!", OFFICER.by, "audit_reason_invalid"), (REASON, SUBJECT.id, "audit_self_erasure")]
)
async def test_what_may_not_be_ordered_writes_nothing(place: Place, reason: str, by: str, code: str) -> None:
    """A reason that is free text could name somebody; who erases themselves would erase who ordered it."""
    size = place.ledger.size
    assert (await refused(place.erasing.erase(SUBJECT.id, reason, replace(OFFICER, by=by)))).code == code
    assert place.ledger.size == size
    assert await place.keys.find(SUBJECT.id) is not None


async def test_every_earlier_proof_holds(place: Place) -> None:
    """The ledger verifies before and after, against a checkpoint from before."""
    await place.ledger.call(lambda journal: journal.sign_checkpoint())
    outside = place.facts.reader.latest_checkpoint()
    await place.erasing.erase(SUBJECT.id, REASON, OFFICER)
    assert verified(place.folder, outside).ok


async def test_an_order_whose_author_cannot_be_read_is_carried_out(place: Place) -> None:
    """A damaged personal part must not keep a key alive, nor Lockgate from starting."""
    key_id, _ = await place.keys.key_for(SUBJECT.id)
    entry = await place.orders.entry("erasure_ordered", {"key_id": key_id, "reason": REASON}, OFFICER)
    await place.ledger.append(replace(entry, sealed=b"\x01" + bytes(60)))
    (index,) = await place.erasing.finish()
    assert "commitments" not in place.facts.receipt(index).leaf
    assert await place.keys.key(key_id) is None


async def test_a_start_knows_what_was_ordered_without_an_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is none, or it is far behind: the records say the same."""
    async with running(tmp_path) as place:
        await place.decide(1, 2)
        await place.holding.add("intent", "payment.status", OFFICER)
        await place.erasing.erase(SUBJECT.id, REASON, OFFICER)
        expected = place.facts.standing()
    (tmp_path / "index.sqlite").unlink()
    monkeypatch.setattr("router.audit.governance.facts.FAR", 0)
    async with running(tmp_path) as place:
        assert place.facts.orders() == expected
        assert place.facts.index.complete()[0] == 0
        await place.decide(3)
        assert place.facts.orders().erased == expected.erased
        assert place.facts.index.complete()[0] == 0, "a second look must not make the index either"
        assert place.facts.orders().erased == place.facts.standing().erased == expected.erased


async def kept_aside(place: Place) -> None:
    await place.keys.close()
    shutil.copy(place.folder / "keys.sqlite", place.folder / "backup")
    await place.keys.open()


async def test_an_old_copy_of_the_keys_does_not_bring_a_key_back(tmp_path: Path) -> None:
    """At the next start it is destroyed again, and the ledger says so: before, how many and why, and after, which."""
    async with running(tmp_path) as place:
        await place.decide(1)
        key_id, _ = await place.keys.key_for(SUBJECT.id)
        await place.erasing.finish()
        marked = await place.keys.compared()
        await kept_aside(place)
        await place.erasing.erase(SUBJECT.id, REASON, OFFICER)
    shutil.copy(tmp_path / "backup", tmp_path / "keys.sqlite")
    async with running(tmp_path) as place:
        assert await place.keys.key(key_id) is not None
        assert await place.keys.compared() == marked
        assert len(await place.erasing.finish()) == 1
        assert place.erasing.destroyed_again == 1
        assert await place.keys.key(key_id) is None
        (found,) = place.leaves("erased_keys_found")
        assert marked is not None
        assert found["details"] == {"reason": "older_keys", "count": 1, "key_ids": [key_id], "compared": marked.size}
        (told,) = place.leaves("erasure_repeated")
        assert told["details"]["key_id"] == key_id
        assert await place.erasing.finish() == []
        assert place.erasing.destroyed_again == 1


async def test_who_comes_back_after_an_erasure_keeps_their_new_key(tmp_path: Path) -> None:
    """Records of erasures name keys and nobody: another key of the same person is another id, also where an old copy has the first."""
    async with running(tmp_path) as place:
        await place.decide(1)
        old, _ = await place.keys.key_for(SUBJECT.id)
        await kept_aside(place)
        await place.erasing.erase(SUBJECT.id, REASON, OFFICER)
        await place.decide(2)
        new, _ = await place.keys.key_for(SUBJECT.id)
        assert await place.erasing.finish() == []
        assert await place.keys.present([old, new]) == [new]
    shutil.copy(tmp_path / "backup", tmp_path / "keys.sqlite")
    async with running(tmp_path) as place:
        assert len(await place.erasing.finish()) == 1
        third, _ = await place.keys.key_for(SUBJECT.id)
        assert third not in (old, new)


async def test_without_an_index_only_what_came_after_the_mark_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start on a long ledger does not read all of it; once the index is there, all erasures are looked at after all."""
    async with running(tmp_path) as place:
        await place.decide(1)
        await place.decide(2, subject="bo")
        key_id, _ = await place.keys.key_for(SUBJECT.id)
        await kept_aside(place)
        await place.erasing.erase(SUBJECT.id, REASON, OFFICER)
        marked = place.facts.compared()
        await place.erasing.erase("bo", REASON, OFFICER)
    shutil.copy(tmp_path / "backup", tmp_path / "keys.sqlite")
    (tmp_path / "index.sqlite").unlink()
    async with running(tmp_path) as place:
        await place.keys.mark(marked)  # as if the keys were of between the two, and somebody had put one of them back
        with monkeypatch.context() as far:
            far.setattr("router.audit.governance.facts.FAR", 0)
            assert len(await place.erasing.finish()) == 1
            assert place.facts.orders(marked.size).since == marked.size
            assert (await place.keys.present([key_id])) == [key_id]
        await place.erasing.carry_on()
        assert await place.keys.present([key_id]) == []
        assert {found["details"]["reason"] for found in place.leaves("erased_keys_found")} == {"older_keys", "put_back"}


async def test_the_mark_goes_on_with_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it runs, once there are so many records more: a start without an index reads those after the mark, and no others."""
    monkeypatch.setattr("router.audit.governance.erasing.RENEWED", 4)
    async with running(tmp_path) as place:
        await place.decide(1)
        await place.erasing.finish()
        before = await place.keys.compared()
        await place.decide(2)
        await place.erasing.carry_on()
        assert await place.keys.compared() == before, "two records more are soon read"
        await place.decide(3)
        await place.erasing.carry_on()
        assert await place.keys.compared() == place.facts.compared()


async def test_the_mark_is_not_over_what_came_while_it_was_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says nothing of records that may not have been looked at."""
    monkeypatch.setattr("router.audit.governance.erasing.RENEWED", 1)
    async with running(tmp_path) as place:
        await place.decide(1)
        await place.erasing.finish()
        await place.decide(2)
        expected, present = place.facts.compared(), place.keys.present

        async def later(key_ids: Sequence[str]) -> list[str]:
            await place.decide(3)
            return await present(key_ids)

        monkeypatch.setattr(place.keys, "present", later)
        await place.erasing.carry_on()
        assert await place.keys.compared() == expected != place.facts.compared()


async def test_what_was_erased_since_the_mark_is_looked_for_before_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the mark is a later one, of another node: a single key that came back since it was erased is found."""
    monkeypatch.setattr("router.audit.governance.erasing.RENEWED", 1)
    async with running(tmp_path) as place:
        await place.decide(1)
        key_id, _ = await place.keys.key_for(SUBJECT.id)
        await place.erasing.finish()
        await place.ledger.append(system_entry("stopped", place.clock.now_ns(), {}))
        await place.keys.mark(place.facts.compared())
        await place.ledger.append(system_entry("subject_erased", place.clock.now_ns(), {"key_id": key_id, "reason": REASON}))
        await place.erasing.carry_on()
        assert await place.keys.present([key_id]) == []


async def test_an_erasure_does_not_hide_that_old_keys_were_put_back(tmp_path: Path) -> None:
    """It marks the keys, which then no longer look old: so it leaves that to the round that looks for all of them."""
    async with running(tmp_path) as place:
        await place.decide(1)
        await place.decide(2, subject="bo")
        key_id, _ = await place.keys.key_for(SUBJECT.id)
        await place.erasing.finish()
        await kept_aside(place)
        await place.erasing.erase(SUBJECT.id, REASON, OFFICER)
        await place.keys.close()
        shutil.copy(tmp_path / "backup", tmp_path / "keys.sqlite")
        await place.keys.open()
        await place.erasing.erase("bo", REASON, OFFICER)
        await place.erasing.carry_on()
        assert await place.keys.present([key_id]) == []
        assert [found["details"]["reason"] for found in place.leaves("erased_keys_found")] == ["older_keys"]


async def without_an_index(folder: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    (folder / "index.sqlite").unlink(missing_ok=True)
    monkeypatch.setattr("router.audit.governance.facts.FAR", 0)
    monkeypatch.setattr("router.audit.governance.facts.PIECE", piece)


async def test_a_start_that_is_ended_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an index it reads the records in pieces, and the mark keeps each: what brings nodes up ends those that take too long."""
    async with running(tmp_path) as place:
        await place.decide(1, 2, 3, 4, 5)
    await without_an_index(tmp_path, monkeypatch, 4)
    async with running(tmp_path) as place:
        read = Facts.piece
        pieces = iter(range(2))
        monkeypatch.setattr(Facts, "piece", lambda facts, since: None if next(pieces, None) is None else read(facts, since))
        monkeypatch.setattr(place.facts, "orders", failing)
        with pytest.raises(RuntimeError, match="ended"):
            await place.erasing.finish()
        kept = await place.keys.compared()
        assert kept is not None
        assert kept.size == 8
        monkeypatch.undo()
    await without_an_index(tmp_path, monkeypatch, 4)
    async with running(tmp_path) as place:
        await place.erasing.finish()
        assert place.facts.orders(8).since == 8
        assert await place.keys.compared() == place.facts.compared()


def failing(since: int) -> None:
    raise RuntimeError("ended")


async def test_pieces_destroy_what_came_back_and_do_not_pass_what_is_unfinished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mark over an order says that it is carried out; a mark over an erasure that the key is not there."""
    async with running(tmp_path) as place:
        await place.decide(1)
        first, _ = await place.keys.key_for(SUBJECT.id)
        second, _ = await place.keys.key_for("bo")
        await place.ledger.append(system_entry("subject_erased", place.clock.now_ns(), {"key_id": first, "reason": REASON}))
        await place.decide(2, 3, subject="cy")
        order = await place.ledger.append(system_entry("erasure_ordered", place.clock.now_ns(), {"key_id": second, "reason": REASON}))
        await place.decide(4, 5, subject="cy")
    await without_an_index(tmp_path, monkeypatch, 4)
    marks: list[int] = []
    async with running(tmp_path) as place:
        mark = place.keys.mark

        async def noted(compared: Compared) -> None:
            marks.append(compared.size)
            assert await place.keys.present([first]) == []
            await mark(compared)

        monkeypatch.setattr(place.keys, "mark", noted)
        await place.erasing.finish()
        assert await place.keys.present([first, second]) == []
        assert marks == [4, place.facts.reader.size()]
        assert marks[0] <= order < marks[1]
        assert len(place.leaves("erased_keys_found")) == 1


async def test_what_was_sealed_before_an_erasure_and_is_recorded_after_a_restart_loses_its_personal_part(tmp_path: Path) -> None:
    """As a step of a review that was stored when its process was killed, where a command erased whose it was before the next start: it
    would accuse the ledger of a key that was kept."""
    async with running(tmp_path) as place:
        await place.decide(1)
        await place.erasing.finish()
        key_id, key = await place.keys.key_for("bo")
        waits = system_entry("stopped", place.clock.now_ns(), {}, place.ids.new(), {"by": "bo"}, key_id, key)
    async with running(tmp_path) as place:
        await place.erasing.finish()
        await place.erasing.erase("bo", REASON, OFFICER)
    async with running(tmp_path) as place:
        await place.erasing.finish()
        kept = place.facts.stored(await place.ledger.append(waits))
        assert (kept.sealed, kept.key_id) == (b"", "")
    assert verified(tmp_path).faults == []


async def test_who_only_asks_is_given_no_key_that_is_ordered_destroyed(place: Place) -> None:
    """The order is on record and the key is there still, as after a crash: commands beside a stopped node do not open it."""
    key_id, key = await place.keys.key_for(SUBJECT.id)
    file = place.keys._store
    assert but_destroyed(file.key, standing_now(place.facts.reader, place.facts.index))(key_id) == key
    await place.erasing._ordered(key_id, REASON, OFFICER)
    lookup = but_destroyed(file.key, standing_now(place.facts.reader, place.facts.index))
    assert (file.key(key_id), lookup(key_id)) == (key, None)
    officer, _ = await place.keys.key_for(OFFICER.by)
    assert lookup(officer) is not None


async def test_many_keys_that_come_back_go_with_few_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many as one record names are destroyed in one transaction, and told of in one commit."""
    monkeypatch.setattr("router.audit.governance.erasing.AT_ONCE", 3)
    async with running(tmp_path) as place:
        key_ids = [(await place.keys.key_for(f"subject-{number}"))[0] for number in range(4)]
        await kept_aside(place)
        for number in range(4):
            await place.erasing.erase(f"subject-{number}", REASON, OFFICER)
    shutil.copy(tmp_path / "backup", tmp_path / "keys.sqlite")
    async with running(tmp_path) as place:
        assert len(await place.erasing.finish()) == 4
        assert [found["details"]["count"] for found in place.leaves("erased_keys_found")] == [3, 1]
        assert await place.keys.present(key_ids) == []


async def test_a_key_that_is_put_back_while_it_runs_is_found_with_its_mark(tmp_path: Path) -> None:
    """The next round sees that the keys have another mark than it left, and looks; where they have the same, it does not."""
    async with running(tmp_path) as place:
        await place.decide(1)
        key_id, _ = await place.keys.key_for(SUBJECT.id)
        await kept_aside(place)
        await place.erasing.erase(SUBJECT.id, REASON, OFFICER)
        await place.keys.close()
        shutil.copy(tmp_path / "backup", tmp_path / "keys.sqlite")
        await place.keys.open()
        await place.erasing.carry_on()
        assert await place.keys.key(key_id) is None
        (found,) = place.leaves("erased_keys_found")
        assert found["details"]["reason"] == "unmarked_keys"
        await place.erasing.carry_on()
        assert len(place.leaves("erased_keys_found")) == 1


@pytest.mark.parametrize(
    ("mark", "reason"),
    [
        (None, "unmarked_keys"),
        (Compared("another", 9, b""), "other_ledger"),
        (Compared("ledger.test", 5, b""), "older_keys"),
        (Compared("ledger.test", 6, b""), "put_back"),
    ],
)
def test_the_mark_says_how_a_key_can_have_come_back(mark: Compared | None, reason: str) -> None:
    """The erasure is record 5: who saw five records had not seen it."""
    assert why_found(mark, "ledger.test", [7, 5]) == reason
    assert reason in FOUND


async def test_a_key_that_somebody_else_still_reads_is_not_said_to_be_erased(place: Place) -> None:
    """While another process holds an older state of the file, the log keeps the key; then nothing claims that it is gone."""
    key_id, _ = await place.keys.key_for(SUBJECT.id)
    needle = wrapped(place.folder, key_id)
    other = sqlite3.connect(place.folder / "keys.sqlite", isolation_level=None)
    with closing(other):
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM keys").fetchall()
        assert isinstance(place.keys._store, KeyFile)
        await asyncio.to_thread(place.keys._store._open.execute, "PRAGMA busy_timeout=50")
        assert (await refused(place.erasing.erase(SUBJECT.id, REASON, OFFICER))).code == "audit_keys_busy"
        assert on_disk(place.folder, needle)
        assert place.leaves("subject_erased") == []
        other.execute("COMMIT")
    assert len(await place.erasing.finish()) == 1
    assert on_disk(place.folder, needle) == []


async def test_a_key_that_was_being_fetched_is_not_kept(tmp_path: Path) -> None:
    """Concurrent requests and erasures of the same subject: what the cache holds afterwards is what the file holds."""
    async with running(tmp_path) as place:
        for _ in range(20):
            key_id, _ = await place.keys.key_for("zoe")
            place.keys._cache.clear()
            got = await asyncio.gather(place.keys.key_for("zoe"), place.keys.destroy(key_id), place.keys.key_for("zoe"))
            assert got[0] is not None
            kept, _ = await place.keys.key_for("zoe")
            assert await place.keys.find("zoe") == kept
            assert kept != key_id


def test_moving_keys_about_leaves_no_copies_behind(tmp_path: Path) -> None:
    """Among thousands whose pages were split many times: neither the wrapped bytes nor the subject's place are anywhere."""
    keys = KeyFile(tmp_path / "keys.sqlite", SEALING_KEY)
    keys.open()
    made = [keys.ensure([f"subject-{number}" for number in range(start, start + 100)]) for start in range(0, 4000, 100)]
    destroyed = [key_id for batch in made for key_id, _ in list(batch.values())[::20]]
    rows = {key_id: (place, sealed) for place, key_id, sealed in keys._open.execute("SELECT subject, key_id, wrapped FROM keys")}
    for key_id in destroyed:
        keys.destroy(key_id)
    contents = b"".join(file.read_bytes() for file in tmp_path.glob("keys.sqlite*"))
    assert len(destroyed) == 200
    assert not any(needle in contents for key_id in destroyed for needle in rows[key_id])
    assert all(rows[key_id][1] in contents for key_id in rows.keys() - set(destroyed))
    keys.close()


def test_destroying_twice_is_harmless(tmp_path: Path) -> None:
    """A crash may have come after the first."""
    keys = KeyFile(tmp_path / "keys.sqlite", SEALING_KEY)
    keys.open()
    key_id, _ = keys.ensure(["anna"])["anna"]
    for _ in range(2):
        keys.destroy(key_id)
        assert keys.present([key_id]) == []
    keys.close()
