"""What goes over from a ledger that is not continued: erasures, legal holds, and what is said of those that nobody can read any more."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.sqlite.place import LEDGER_FILE, SqlitePlace
from adapters.sqlite.reader import SqliteReader
from adapters.sqlite.subject_keys import KeyFile
from router.audit.checking.verify import Plan, verify
from router.audit.questions.reader import LedgerReader, Stored
from router.audit.records.record import open_personal
from router.audit.tree.checkpoint import NoteSigner, latest_published
from router.errors import AuditError
from router.ports import Entry
from router.wiring.carrying import CarriedOver, carried_over, left_by, said
from router.wiring.recovery import Around, Place, recover
from tests.unit.audit.governed import OFFICER, SEALING_KEY, running
from tests.unit.audit.governed import Place as Governed
from tests.unit.audit.ledgers import reader
from tests.unit.audit.samples import SUBJECT

REASON = "gdpr_art_17"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"2")
NEXT = NoteSigner("ledger.test/2", KEY)


def keys(folder: Path) -> KeyFile:
    file = KeyFile(folder / "keys.sqlite", SEALING_KEY)
    file.open()
    return file


def recovered(folder: Path, *copies: Callable[[], LedgerReader], with_keys: bool = True) -> CarriedOver:
    around = Around(copies, partial(keys, folder) if with_keys else None)
    return recover(Place(folder, folder / "checkpoints"), NEXT, "restored", None, around)[2]


def details(folder: Path, event: str) -> list[dict[str, Any]]:
    leaves = [orjson.loads(stored.leaf) for stored in reader(folder).records(0, 1000)]
    return [leaf["details"] for leaf in leaves if leaf.get("event") == event]


async def kept_aside(place: Governed, file: str) -> None:
    await place.keys.close()
    shutil.copy(place.folder / file, place.folder / f"{file}.backup")
    await place.keys.open()


def put_back(folder: Path, file: str) -> None:
    shutil.copy(folder / f"{file}.backup", folder / file)


async def test_erasures_go_over_and_old_keys_bring_nobody_back(tmp_path: Path) -> None:
    """With an older copy of the keys beside the old ledger: the key is destroyed before the new one opens; and where that copy is put back
    once more, the new ledger's own records see to it."""
    async with running(tmp_path) as place:
        await place.decide(1)
        key_id, _ = await place.keys.key_for(SUBJECT.id)
        await kept_aside(place, "keys.sqlite")
        await place.erasing.erase(SUBJECT.id, REASON, OFFICER)
        erasure = place.facts.standing().erased[key_id]
    put_back(tmp_path, "keys.sqlite")
    carried = recovered(tmp_path)
    assert (carried.erasures, carried.from_keys, carried.destroyed) == (1, 0, 1)
    (told,) = details(tmp_path, "erasure_carried_over")
    assert told == {"key_id": key_id, "reason": REASON, "from": {"origin": "ledger.test", "record": erasure}}
    assert [each["key_id"] for each in details(tmp_path, "erasure_repeated")] == [key_id]
    assert [each["key_ids"] for each in details(tmp_path, "erased_keys_found")] == [[key_id]]
    with closing(keys(tmp_path)) as file:
        assert file.present([key_id]) == []
    assert any("1 keys that were erased had come back" in sentence for sentence in said(carried))
    put_back(tmp_path, "keys.sqlite")
    async with running(tmp_path, signer=NEXT) as place:
        assert len(await place.erasing.finish()) == 1
        assert await place.keys.key(key_id) is None
        assert await place.erasing.finish() == []
    report = verify(
        Plan(
            lambda: reader(tmp_path),
            NEXT.verifier,
            latest_published(tmp_path / "checkpoints"),
            open_keys=lambda: keys(tmp_path),
            processes=1,
        )
    )
    assert report.faults == []


async def test_an_erasure_that_was_only_ordered_is_carried_out(tmp_path: Path) -> None:
    """What was ordered is carried out, whatever happens to the ledger it was ordered in."""
    async with running(tmp_path) as place:
        await place.decide(1)
        key_id, _ = await place.keys.key_for(SUBJECT.id)
        order = await place.erasing._ordered(key_id, REASON, OFFICER)
    assert recovered(tmp_path).erasures == 1
    assert details(tmp_path, "erasure_carried_over")[0]["from"]["record"] == order.record
    with closing(keys(tmp_path)) as file:
        assert file.key(key_id) is None


async def test_keys_that_are_newer_than_the_ledger_tell_of_later_erasures(tmp_path: Path) -> None:
    """The restored ledger lacks the erasure; the keys' own list has it. Neither that nor how many records are missing goes unsaid."""
    async with running(tmp_path) as place:
        await place.decide(1)
        key_id, _ = await place.keys.key_for(SUBJECT.id)
    shutil.copy(tmp_path / LEDGER_FILE, tmp_path / "ledger.backup")
    async with running(tmp_path) as place:
        await place.erasing.erase(SUBJECT.id, REASON, OFFICER)
        missing = place.facts.reader.size() - 2
    shutil.copy(tmp_path / "ledger.backup", tmp_path / LEDGER_FILE)
    carried = recovered(tmp_path)
    assert (carried.erasures, carried.from_keys) == (0, 1)
    assert details(tmp_path, "erasure_carried_over") == [{"key_id": key_id, "reason": "unknown", "from": {"keys": 1}}]
    assert details(tmp_path, "recovered")[0]["carried_over"] == {"erasures": 1, "holds": 0, "unread": missing}
    assert f"{missing} records (2–{missing + 1}) are missing or could not be read" in list(said(carried))[-1]


async def test_a_copy_tells_what_the_restored_ledger_lacks(tmp_path: Path) -> None:
    """Of an erasure and of a hold that was released: the damaged ledger has both, the restored one neither."""
    async with running(tmp_path) as place:
        await place.decide(1)
        await place.decide(2, subject="bo")
        hold = (await place.holding.add("subject", "bo", OFFICER)).index
        await place.keys.key_for(SUBJECT.id)
    shutil.copy(tmp_path / LEDGER_FILE, tmp_path / "ledger.backup")
    async with running(tmp_path) as place:
        await place.holding.release(hold, OFFICER)
        await place.erasing.erase(SUBJECT.id, REASON, OFFICER)
    (tmp_path / "damaged").mkdir()
    (tmp_path / LEDGER_FILE).rename(tmp_path / "damaged" / LEDGER_FILE)
    shutil.copy(tmp_path / "ledger.backup", tmp_path / LEDGER_FILE)
    carried = recovered(tmp_path, partial(SqlitePlace(tmp_path / "damaged").reader, Stored))
    assert (carried.erasures, carried.from_keys, carried.holds, carried.missing) == (1, 0, 0, [])


async def test_a_copy_of_another_ledger_tells_nothing(tmp_path: Path) -> None:
    """It is refused before anything is written."""
    async with running(tmp_path / "another", signer=NoteSigner("other.test", KEY)) as place:
        await place.ledger.append(await place.orders.entry("started", {}, OFFICER))
    async with running(tmp_path) as place:
        await place.decide(1)
    with pytest.raises(AuditError) as refused:
        recovered(tmp_path, partial(SqlitePlace(tmp_path / "another").reader, Stored))
    assert refused.value.code == "audit_origin_changed"
    assert reader(tmp_path).origin() == "ledger.test"


async def test_holds_that_stood_go_over_with_where_they_come_from(tmp_path: Path) -> None:
    """Each is a hold of the new ledger, with who ordered it and for which case; what was released does not go. Who is on hold cannot be
    erased there, and nor can whose decision, or whose decision with that intent, is on hold in the ledger before."""
    async with running(tmp_path) as place:
        await place.decide(1, subject="ann")
        (second,) = await place.decide(2, subject="bo")
        await place.decide(3, subject="cy")
        intent = second.classification.intent
        assert intent is not None
        first = (await place.holding.add("subject", "ann", OFFICER)).index
        await place.holding.add("decision", second.id, OFFICER)
        released = (await place.holding.add("subject", "cy", OFFICER)).index
        await place.holding.release(released, OFFICER)
    carried = recovered(tmp_path)
    assert (carried.holds, carried.unopened) == (2, 0)
    async with running(tmp_path, signer=NEXT) as place:
        holds = await place.holding.all()
        assert [(hold.on, hold.target) for hold in holds] == [("key_id", await place.keys.find("ann")), ("decision", second.id)]
        stored = place.facts.stored(holds[0].record)
        assert orjson.loads(stored.leaf)["details"]["from"]["record"] == first
        key = await place.keys.key(stored.key_id)
        assert key is not None
        assert open_personal(Entry(stored.leaf, stored.sealed, stored.key_id), key)["case"] == OFFICER.case
        for subject in ("ann", "bo"):
            with pytest.raises(AuditError) as refused:
                await place.erasing.erase(subject, REASON, OFFICER)
            assert refused.value.code == "audit_on_hold"
        await place.erasing.erase("cy", REASON, OFFICER)
        await place.holding.release(holds[1].record, OFFICER)
        await place.erasing.erase("bo", REASON, OFFICER)
    report = verify(Plan(lambda: reader(tmp_path), NEXT.verifier, latest_published(tmp_path / "checkpoints"), processes=1))
    assert report.faults == []


async def test_a_hold_on_an_intent_keeps_everybody_whom_it_is_about(tmp_path: Path) -> None:
    """In the ledger before; and a ledger after the next one has it from the one between."""
    async with running(tmp_path) as place:
        (one,) = await place.decide(1, subject="ann")
        assert one.classification.intent is not None
        await place.holding.add("intent", one.classification.intent, OFFICER)
    recovered(tmp_path)
    third = NoteSigner("ledger.test/3", KEY)
    recover(Place(tmp_path, tmp_path / "checkpoints"), third, "key_lost", None, Around((), partial(keys, tmp_path)))
    async with running(tmp_path, signer=third) as place:
        with pytest.raises(AuditError) as refused:
            await place.erasing.erase("ann", REASON, OFFICER)
        assert refused.value.code == "audit_on_hold"


async def test_without_the_keys_records_go_over_and_the_start_destroys(tmp_path: Path) -> None:
    """Their sealing key may be elsewhere that day: it is said, and nothing waits for it."""
    async with running(tmp_path) as place:
        await place.decide(1)
        await place.decide(2, subject="bo")
        await place.holding.add("subject", "bo", OFFICER)
        key_id, _ = await place.keys.key_for(SUBJECT.id)
        await kept_aside(place, "keys.sqlite")
        await place.erasing.erase(SUBJECT.id, REASON, OFFICER)
    put_back(tmp_path, "keys.sqlite")

    def nowhere() -> KeyFile:
        raise AuditError("The sealing key is not there.", "audit_key_missing")

    carried = recover(Place(tmp_path, tmp_path / "checkpoints"), NEXT, "restored", None, Around((), nowhere))[2]
    assert (carried.erasures, carried.destroyed, carried.holds, carried.unopened) == (1, 0, 1, 1)
    assert "The subjects' keys were not looked at (The sealing key is not there)" in " ".join(said(carried))
    async with running(tmp_path, signer=NEXT) as place:
        assert len(await place.erasing.finish()) == 1
        assert await place.keys.key(key_id) is None
        (found,) = place.leaves("erased_keys_found")
        assert found["details"]["reason"] in ("unmarked_keys", "other_ledger")


class Torn(SqliteReader):
    """A file with a page that cannot be read: whatever touches record 2 or 3 fails."""

    def records(self, start: int, end: int) -> Any:
        if start <= 3 and end > 2:
            raise AuditError("database disk image is malformed", "audit_unavailable")
        return super().records(start, end)


async def test_a_damaged_page_costs_the_records_on_it(tmp_path: Path) -> None:
    """What lies around it goes over, and what lay on it is counted and named."""
    async with running(tmp_path) as place:
        await place.decide(1)
        await place.decide(2, subject="bo")
        await place.erasing.erase("bo", REASON, OFFICER)
        size = place.facts.reader.size()
    torn = Torn(tmp_path / LEDGER_FILE, Stored)
    with closing(torn), closing(keys(tmp_path)) as file:
        carried = carried_over(left_by(torn, (), size), file)
    assert (carried.erasures, carried.from_keys, carried.missing) == (1, 0, [(2, 4)])
    assert "2 records (2–3) are missing or could not be read" in list(said(carried))[-1]


async def test_what_was_broken_off_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys are destroyed, and the machine is lost before the new ledger has its place: the command is given again, and carries over the
    same."""
    async with running(tmp_path) as place:
        await place.decide(1)
        key_id, _ = await place.keys.key_for(SUBJECT.id)
        await kept_aside(place, "keys.sqlite")
        await place.erasing.erase(SUBJECT.id, REASON, OFFICER)
    put_back(tmp_path, "keys.sqlite")
    with monkeypatch.context() as broken:
        broken.setattr("router.wiring.recovery._begun", _lost)
        with pytest.raises(RuntimeError, match="lost"):
            recovered(tmp_path)
    assert reader(tmp_path).origin() == "ledger.test"
    assert recovered(tmp_path).erasures == 1
    with closing(keys(tmp_path)) as file:
        assert file.present([key_id]) == []


def _lost(*_: object) -> None:
    raise RuntimeError("lost")
