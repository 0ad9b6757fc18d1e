from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.sqlite.index import SqliteIndex
from adapters.sqlite.subject_keys import KeyFile
from router.audit.governance import pruning as module
from router.audit.governance.pruning import Pruning, Summary, foreseen
from router.audit.governance.retention import DAY_NS, Retention, RetentionClass
from router.audit.governance.standing import Standing, joined
from router.audit.questions.query import Query, Trail
from router.audit.records.record import system_entry
from router.audit.tree.merkle import leaf_hash, verify_inclusion
from router.audit.tree.proof import prove_inclusion
from router.errors import AuditError
from router.ports import Entry
from tests.unit.audit.governed import OFFICER, SEALING_KEY, Clock, Place, running
from tests.unit.audit.ledgers import rehash, run, verified
from tests.unit.audit.samples import DECISION, SUBJECT, numbered

KEEP = 184 * DAY_NS
DAILY = Retention((RetentionClass("rest", KEEP),))
COUNT = 20


def late(days: int) -> Clock:
    return Clock(DECISION.decided_ns + days * DAY_NS)


async def days_go_by(place: Place, days: int) -> None:
    """A record a fortnight, so that time is seen to pass."""
    for day in range(14, days + 1, 14):
        await place.ledger.append(system_entry("refused", DECISION.decided_ns + day * DAY_NS, {"rate_limited": 1}))


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """Twenty decisions and outcomes a year ago, one just now."""
    async with running(tmp_path, late(365)) as made:
        await made.decide(*range(COUNT))
        await days_go_by(made, 364)
        await made.decide(364 * 86_400)
        yield made


async def pruned(place: Place, retention: Retention = DAILY) -> Summary:
    return await Pruning(place.orders, retention).prune(OFFICER)


def parts(place: Place) -> list[int]:
    """Records that have a personal part, other than those about who ordered what."""
    return [each.index for each in place.facts.reader.records(0, 10_000) if each.sealed and b"lockgate.system.v1" not in each.leaf]


async def test_what_is_old_enough_goes_and_the_rest_stays(place: Place) -> None:
    """Sealed parts of a year ago are gone, the one of today is there; leaves are what they were."""
    before = [each.leaf for each in place.facts.reader.records(0, 66)]
    summary = await pruned(place)
    assert (summary.classes[0].parts, summary.more, len(summary.records)) == (2 * COUNT, False, 1)
    assert parts(place) == [66, 67]
    assert [each.leaf for each in place.facts.reader.records(0, 66)] == before


async def test_the_record_says_exactly_what_went(place: Place) -> None:
    """Class, terms, ranges and count; who ordered it is sealed."""
    summary = await pruned(place)
    (leaf,) = place.leaves("pruned")
    terms = {"class": "rest", "keep": "184d", "policy": DAILY.policy, "from": 0, "ranges": [[0, 40]], "count": 40}
    assert {name: value for name, value in leaf["details"].items() if name != "until"} == terms
    assert set(leaf["commitments"]) == {"ordered_by", "authority", "case"}
    assert place.facts.receipt(summary.records[0]).checkpoint is not None


async def test_every_proof_still_holds(place: Place) -> None:
    """Against a checkpoint from before, for the whole and for each record."""
    await place.ledger.call(lambda journal: journal.sign_checkpoint())
    outside = place.facts.reader.latest_checkpoint()
    await pruned(place)
    report = verified(place.folder, outside)
    assert (report.ok, report.pruned, report.faults) == (True, 2 * COUNT, [])
    reader = place.facts.reader
    size, root = reader.last_commit()
    for stored in reader.records(0, size):
        assert verify_inclusion(leaf_hash(stored.leaf), stored.index, size, prove_inclusion(reader, stored.index, size), root)


async def test_with_keys_what_is_left_still_opens(place: Place) -> None:
    """`--personal` opens what is there and misses nothing of what was pruned."""

    def keys() -> KeyFile:
        file = KeyFile(place.folder / "keys.sqlite", SEALING_KEY)
        file.open()
        return file

    await pruned(place)
    report = verified(place.folder, open_keys=keys)
    assert (report.ok, report.opened, report.pruned) == (True, 3, 2 * COUNT)


async def test_queries_name_the_record_that_says_so(place: Place) -> None:
    """Pruned, and by which record; not a hole."""
    summary = await pruned(place)
    trail = Trail(place.facts.reader, place.facts.index)
    (gone, *_) = trail.find(Query(kind="decision"), newest=False)
    assert (gone.sealed, gone.gone_by) == ("pruned", summary.records[0])


@given(st.lists(st.sets(st.integers(0, 20_000), min_size=1), max_size=6))
def test_the_record_of_a_pruned_part_is_found_at_once(batches: list[set[int]]) -> None:
    """Of the first that names it, as looking through all of them would say."""
    standing = Standing()
    for number, places in enumerate(batches):
        ranges = [list(each) for each in joined(sorted(places))]
        details = {"class": "rest", "policy": "p", "from": 0, "until": 20_001, "ranges": ranges}
        standing.take(30_000 + number, {"event": "pruned", "details": details})
    for index in {each for places in batches for near in places for each in (near - 1, near, near + 1)}:
        expected = next((30_000 + number for number, places in enumerate(batches) if index in places), None)
        assert standing.pruned(index) == expected


async def test_queries_name_the_erasure(place: Place) -> None:
    """Erased, and by which record, with or without the sealing key."""
    receipt = await place.erasing.erase(SUBJECT.id, "gdpr_art_17", OFFICER)
    for keys in (None, lambda _: None):
        (gone, *_) = Trail(place.facts.reader, place.facts.index, keys).find(Query(kind="decision"))
        assert (gone.sealed, gone.gone_by) == ("erased", receipt.index)


async def test_again_there_is_nothing_to_do(place: Place) -> None:
    """Nothing is recorded for it."""
    await pruned(place)
    size = place.ledger.size
    assert (await pruned(place)).classes[0].parts == 0
    assert place.ledger.size == size


async def test_foreseeing_changes_nothing_and_is_right(place: Place) -> None:
    """A dry run says what the run then does."""
    size = place.ledger.size
    told = foreseen(place.facts, DAILY, place.clock.now_ns())
    assert place.ledger.size == size
    assert told.classes == (await pruned(place)).classes


async def test_classes_have_terms_of_their_own(tmp_path: Path) -> None:
    """The first that matches counts, a class that keeps longer keeps, and what is in none stays."""
    long_kept = RetentionClass("denied", 3650 * DAY_NS, effects=("allow",), kinds=("decision",))
    outcomes = RetentionClass("outcomes", KEEP, kinds=("decision", "outcome"))
    async with running(tmp_path, late(365)) as place:
        await place.decide(*range(3))
        await days_go_by(place, 364)
        summary = await pruned(place, Retention((long_kept, outcomes)))
        assert [each.parts for each in summary.classes] == [0, 3]
        assert parts(place) == [0, 2, 4]
        assert place.leaves("pruned")[0]["details"]["ranges"] == [[1, 2], [3, 4], [5, 6]]
        assert verified(tmp_path).ok


@pytest.mark.parametrize("on", ["subject", "decision", "intent"])
async def test_holds_win_and_what_they_kept_goes_after_them(tmp_path: Path, on: str) -> None:
    """Also after a run that went past what was on hold."""
    async with running(tmp_path, late(365)) as place:
        await place.decide(0, 1, 2)
        await place.decide(3, subject="bo")
        await days_go_by(place, 364)
        targets = {"subject": SUBJECT.id, "decision": numbered(1).id, "intent": "payment.cancel"}
        hold = await place.holding.add(on, targets[on], OFFICER)
        kept = {"subject": 6, "decision": 2, "intent": 8}[on]
        summary = await pruned(place)
        assert (summary.classes[0].held, summary.classes[0].parts) == (kept, 8 - kept)
        await place.holding.release(hold.index, OFFICER)
        again = await pruned(place)
        assert (again.classes[0].held, again.classes[0].parts) == (0, kept)
        assert verified(tmp_path).ok


async def test_batches_are_small_and_each_is_on_record(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run in steps removes the same, goes on where it was, and ends within its bound."""
    monkeypatch.setattr(module, "BATCH", 7)
    running_pruning = Pruning(place.orders, DAILY)
    first = await running_pruning.prune(None, 10)
    assert (first.classes[0].parts, first.more) == (14, True)
    rest = await Pruning(place.orders, DAILY).prune(None)
    assert (rest.classes[0].parts, rest.more) == (26, False)
    assert [leaf["details"]["count"] for leaf in place.leaves("pruned")] == [7, 7, 7, 7, 7, 5]
    assert verified(place.folder).ok


@pytest.mark.parametrize("years", [2, 50])
async def test_a_clock_that_jumps_prunes_nothing(tmp_path: Path, years: int) -> None:
    """A wrong clock at the wrong moment must not take evidence with it; the answer names the jump."""
    async with running(tmp_path, late(365 * years)) as place:
        await place.decide(*range(COUNT))
        summary = await pruned(place)
        assert summary.classes[0].parts == 0
        assert [round(jump.ns / DAY_NS) for jump in summary.jumps] == [365 * years]


async def test_a_clock_that_went_back_prunes_nothing_more(tmp_path: Path) -> None:
    """Before all records, so nothing is old."""
    async with running(tmp_path, late(-3000)) as place:
        await place.decide(*range(COUNT))
        assert (await pruned(place)).classes[0].parts == 0


async def test_where_a_records_time_is_none_nothing_is_pruned(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """How old anything is would be a guess."""

    def unreadable(*_: Any) -> None:
        raise ValueError("no time")

    monkeypatch.setattr(SqliteIndex, "times", unreadable)
    with pytest.raises(AuditError) as refused:
        await pruned(place)
    assert refused.value.code == "audit_time_unreadable"
    assert place.leaves("parts_pruned") == []


def delete(folder: Path, *places: int) -> None:
    run(folder, *(("UPDATE records SET sealed = x'' WHERE idx = ?", (place,)) for place in places))


async def test_a_part_that_nobody_said_was_pruned_is_a_fault(place: Place) -> None:
    """Beside what was pruned by the book, one more deletion is found and named."""
    await pruned(place)
    delete(place.folder, 66)
    assert [(fault.index, fault.kind) for fault in verified(place.folder).faults] == [(66, "sealed_missing")]


async def test_a_part_that_should_be_gone_and_is_not_is_a_fault(place: Place) -> None:
    """A removal that is recorded and did not happen would be a false promise."""
    kept = place.facts.stored(3)
    await pruned(place)
    run(place.folder, ("UPDATE records SET sealed = ? WHERE idx = 3", (kept.sealed,)))
    assert [(fault.index, fault.kind) for fault in verified(place.folder).faults] == [(3, "pruned_present")]


def excuse(**changes: Any) -> bytes:
    details = {"class": "rest", "keep": "184d", "policy": "x", "from": 0, "until": 60, "ranges": [[66, 67]], "count": 1, **changes}
    return system_entry("pruned", 1, details).leaf


async def test_an_excuse_that_nothing_signed_covers_excuses_nothing(place: Place) -> None:
    """Who can write to the file and has no key adds a record that says it was pruned."""
    await place.ledger.call(lambda journal: journal.sign_checkpoint())
    size = place.ledger.size
    await place.ledger.close()
    delete(place.folder, 66)
    run(place.folder, ("INSERT INTO records VALUES (?,?,x'','')", (size, excuse(until=size))))
    rehash(place.folder)
    assert [(fault.index, fault.kind) for fault in verified(place.folder).faults] == [(66, "sealed_missing")]
    await place.ledger.open()


@pytest.mark.parametrize("on", ["subject", "decision", "intent"])
async def test_what_was_pruned_in_spite_of_a_hold_is_a_fault(place: Place, on: str) -> None:
    """By whoever has the key and passes the service by; the part and the hold are named."""
    targets = {"subject": SUBJECT.id, "decision": numbered(3).id, "intent": "payment.cancel"}
    hold = await place.holding.add(on, targets[on], OFFICER)
    size = place.ledger.size
    entry = Entry(excuse(until=size, ranges=[[4, 8]], count=4))
    await place.ledger.call(lambda journal: journal.append([entry], [4, 5, 6, 7]))
    await place.ledger.call(lambda journal: journal.sign_checkpoint())
    faults = verified(place.folder).faults
    assert {fault.kind for fault in faults} == {"held_pruned"}
    assert [fault.index for fault in faults] == {"subject": [4, 5, 6, 7], "decision": [6, 7], "intent": [4, 6]}[on]
    assert f"which record {hold.index} had put on hold" in faults[0].message


async def test_an_erasure_that_was_ordered_in_spite_of_a_hold_is_a_fault(place: Place) -> None:
    """Also where the key was really destroyed."""
    hold = await place.holding.add("subject", SUBJECT.id, OFFICER)
    order = system_entry("erasure_ordered", 1, {**hold.leaf["details"], "reason": "gdpr_art_17"})
    index = await place.ledger.append(order)
    await place.erasing.finish()
    await place.ledger.call(lambda journal: journal.sign_checkpoint())
    assert [(fault.index, fault.kind) for fault in verified(place.folder).faults] == [(index, "held_erased")]


@pytest.mark.parametrize(
    "changes",
    [
        {"ranges": [[5, 4]]},
        {"ranges": [[0, 99999]]},
        {"ranges": [[-1, 4]]},
        {"ranges": [[1, 2, 3]]},
        {"ranges": "all"},
        {"until": 99999},
        {"ranges": [[3, 4], [1, 2]]},
        {"from": "x"},
        {"class": 3},
    ],
)
async def test_a_malformed_record_of_pruning_excuses_nothing(place: Place, changes: dict[str, Any]) -> None:
    """Signed by whoever has the key, and still no excuse; one sentence, never a traceback."""
    delete(place.folder, 66)
    leaf = excuse(**{"until": 67, **changes})
    await place.ledger.append(system_entry("started", 1))
    await place.ledger.append(Entry(leaf))
    await place.ledger.call(lambda journal: journal.sign_checkpoint())
    kinds = {fault.kind for fault in verified(place.folder).faults}
    assert kinds == {"sealed_missing", "order_malformed"}
    with pytest.raises(AuditError) as refused:
        await place.erasing.erase(SUBJECT.id, "gdpr_art_17", OFFICER)
    assert refused.value.code == "audit_order_malformed"
    (found, *_) = Trail(place.facts.reader, place.facts.index).find(Query(decision_id=numbered(364 * 86_400).id), newest=False)
    assert found.sealed == "missing"


async def test_a_removal_that_fails_leaves_no_trace(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record and the removal are one transaction: both or none, however it ends."""
    before = parts(place)
    monkeypatch.setattr("adapters.sqlite.ledger._insert", partial(_full, "audit_disk_full"))
    with pytest.raises(AuditError):
        await pruned(place)
    monkeypatch.undo()
    assert (parts(place), place.leaves("pruned")) == (before, [])
    assert (await pruned(place)).classes[0].parts == 2 * COUNT


def _full(code: str, *_: Any) -> None:
    raise AuditError("injected", code)


def holds_bytes(folder: Path, needle: bytes) -> bool:
    return any(needle in file.read_bytes() for file in folder.glob("ledger.sqlite*"))


async def test_removed_bytes_are_not_in_the_file(tmp_path: Path) -> None:
    """Pages that become free are zeroed, and used again."""
    async with running(tmp_path, late(365)) as place:
        await place.decide(*range(200))
        await days_go_by(place, 364)
        needle = place.facts.stored(7).sealed
        await pruned(place)
    async with running(tmp_path, late(365)):  # a start empties the write-ahead log
        pass
    assert not holds_bytes(tmp_path, needle)
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as file:
        (free,), (pages,) = file.execute("PRAGMA freelist_count").fetchone(), file.execute("PRAGMA page_count").fetchone()
    assert free > pages / 10
