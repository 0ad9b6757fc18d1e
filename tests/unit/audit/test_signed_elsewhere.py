"""Orders of a ledger whose key is on another machine: who orders waits for the signature, and nobody else does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from router.audit import ledger as module
from router.audit.governance.facts import Receipt
from router.audit.governance.pruning import Pruning
from router.audit.governance.retention import DAY_NS, Retention, RetentionClass
from router.audit.journal import Journal
from router.audit.questions.reader import Stored
from router.audit.records.record import system_entry
from router.audit.tree.checkpoint import NoteSigner, NoteVerifier
from router.audit.tree.merkle import leaf_hash, verify_inclusion
from router.errors import AuditError
from router.wiring.indexing import Indexing
from tests.unit.audit.governed import OFFICER, Clock, KeyElsewhere, Place, running
from tests.unit.audit.ledgers import verified
from tests.unit.audit.samples import DECISION, SUBJECT

REASON = "gdpr_art_17"
DAILY = Retention((RetentionClass("rest", 184 * DAY_NS),))


@pytest.fixture
def key() -> Iterator[KeyElsewhere]:
    made = KeyElsewhere()
    yield made
    made.going.set()


@pytest.fixture
async def place(tmp_path: Path, key: KeyElsewhere) -> AsyncIterator[Place]:
    async with running(tmp_path, signer=NoteSigner("ledger.test", key)) as made:
        await made.decide(1, 2, 3)
        yield made


def proven(place: Place, receipt: Receipt) -> bool:
    verifier = NoteVerifier(place.journal._plan.signer.verifier)  # type: ignore[attr-defined]  # a NoteSigner
    checkpoint = verifier.open_checkpoint(receipt.checkpoint or "")
    leaf = place.facts.stored(receipt.index).leaf
    return verify_inclusion(leaf_hash(leaf), receipt.index, checkpoint.size, receipt.inclusion, checkpoint.root)


async def code_of(attempt: object) -> str:
    with pytest.raises(AuditError) as refused:
        await attempt  # type: ignore[misc]  # any awaitable
    return refused.value.code


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110  # what is waited for tells nobody
            await asyncio.sleep(0.005)


async def test_an_erasure_is_answered_with_its_proof(place: Place) -> None:
    """The checkpoint covers the record, and the keys are marked."""
    receipt = await place.erasing.erase(SUBJECT.id, REASON, OFFICER)
    assert receipt.leaf["event"] == "subject_erased"
    assert proven(place, receipt)
    assert await place.keys.compared() == place.facts.compared()


async def test_a_hold_and_its_release_are_answered_with_their_proofs(place: Place) -> None:
    """Each with its own."""
    held = await place.holding.add("subject", SUBJECT.id, OFFICER)
    assert proven(place, held)
    assert proven(place, await place.holding.release(held.index, OFFICER))


async def test_a_signature_under_way_for_fewer_records_is_not_enough(place: Place, key: KeyElsewhere) -> None:
    """It is taken, and the next one is begun at once."""
    key.going.clear()
    await place.ledger.call(Journal.sign_checkpoint)
    ordered = asyncio.create_task(place.holding.add("subject", SUBJECT.id, OFFICER))
    await eventually(lambda: bool(place.leaves("hold_added")))
    key.going.set()
    assert proven(place, await ordered)
    assert key.asked == 2


async def test_decisions_and_other_orders_do_not_wait_for_a_signature(place: Place, key: KeyElsewhere) -> None:
    """Only who ordered does."""
    key.going.clear()
    ordered = asyncio.create_task(place.erasing.erase(SUBJECT.id, REASON, OFFICER))
    await eventually(lambda: bool(place.leaves("subject_erased")))
    await place.decide(4, subject="bo")
    other = asyncio.create_task(place.holding.add("subject", "bo", OFFICER))
    await eventually(lambda: bool(place.leaves("hold_added")))
    assert [ordered.done(), other.done()] == [False, False]
    key.going.set()
    assert proven(place, await ordered)
    assert proven(place, await other)


async def test_a_signature_that_does_not_come_in_time_is_said_and_comes_later(
    place: Place, key: KeyElsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The person is erased and the keys are marked all the same."""
    monkeypatch.setattr(module, "SIGNED_WITHIN_S", 0.1)
    key_id, _ = await place.keys.key_for(SUBJECT.id)
    key.going.clear()
    assert await code_of(place.erasing.erase(SUBJECT.id, REASON, OFFICER)) == "audit_unsigned"
    assert await place.keys.key(key_id) is None
    assert await place.keys.compared() == place.facts.compared()
    key.going.set()
    await eventually(lambda: place.ledger.unsigned == 0)
    assert verified(place.folder).ok


async def test_a_signature_that_fails_is_said_at_once(place: Place, key: KeyElsewhere) -> None:
    """Without waiting for another try, which is made later; the keys are marked."""
    key.failing = True
    async with asyncio.timeout(30):
        assert await code_of(place.erasing.erase(SUBJECT.id, REASON, OFFICER)) == "audit_unsigned"
    assert await place.keys.compared() == place.facts.compared()
    assert key.asked == 1


async def test_what_was_left_half_done_is_marked_when_it_is_finished(place: Place) -> None:
    """By whoever asks next, for whomever."""
    key_id, _ = await place.keys.key_for(SUBJECT.id)
    await place.orders.append(await place.orders.entry("erasure_ordered", {"key_id": key_id, "reason": REASON}, OFFICER))
    assert await code_of(place.erasing.erase("nobody", REASON, OFFICER)) == "subject_unknown"
    assert place.leaves("subject_erased")
    assert await place.keys.compared() == place.facts.compared()


async def test_a_start_signs_what_it_finished(place: Place) -> None:
    """Before it goes on."""
    key_id, _ = await place.keys.key_for(SUBJECT.id)
    await place.orders.append(await place.orders.entry("erasure_ordered", {"key_id": key_id, "reason": REASON}, OFFICER))
    (index,) = await place.erasing.finish()
    assert place.facts.receipt(index).checkpoint is not None


@asynccontextmanager
async def year(folder: Path, key: KeyElsewhere) -> AsyncIterator[Place]:
    """Eight decisions a year ago, and a record a fortnight since."""
    async with running(folder, Clock(DECISION.decided_ns + 365 * DAY_NS), signer=NoteSigner("ledger.test", key)) as place:
        await place.decide(*range(8))
        for day in range(14, 365, 14):
            await place.ledger.append(system_entry("refused", DECISION.decided_ns + day * DAY_NS, {"rate_limited": 1}))
        yield place


async def test_a_pruning_is_signed_before_it_is_answered(tmp_path: Path, key: KeyElsewhere) -> None:
    """So that a verification right after it finds nothing missing."""
    async with year(tmp_path, key) as place:
        summary = await Pruning(place.orders, DAILY).prune(None)
        assert summary.classes[0].parts == 16
        assert place.facts.receipt(summary.records[-1]).checkpoint is not None
        assert verified(tmp_path).ok


@pytest.mark.parametrize("failing", [True, False], ids=["fails", "late"])
async def test_a_pruning_without_a_signature_is_answered_and_goes_on(
    tmp_path: Path, key: KeyElsewhere, failing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What went and whether there is more does not depend on the key's machine; the next checkpoint covers it."""
    monkeypatch.setattr(module, "SIGNED_WITHIN_S", 0.1)
    monkeypatch.setattr("router.audit.governance.pruning.BATCH", 4)
    monkeypatch.setattr("router.audit.keys.signing.PAUSE_S", 0.2)
    async with year(tmp_path, key) as place:
        key.failing = failing
        if not failing:
            key.going.clear()
        pruning = Pruning(place.orders, DAILY)
        first = await pruning.prune(None, most=8)
        assert (first.more, first.classes[0].parts) == (True, 8)
        assert sum(one.parts for one in (await pruning.prune(None)).classes) == 8
        key.failing = False
        key.going.set()
        await eventually(lambda: place.ledger.unsigned == 0)
        assert verified(tmp_path).ok


async def test_the_index_is_signed_at_once(place: Place) -> None:
    """Its record is answered with its proof, and the ledger holds one."""
    state = place.folder / "state"
    state.mkdir()
    indexing = Indexing(partial(place.at.reader, Stored), state, 1000, place.ledger, place.clock)
    try:
        receipt = await indexing.sign()
    finally:
        await indexing.close()
    assert receipt["leaf"]["event"] == "index_signed"
    assert receipt["checkpoint"] is not None
    assert len(place.leaves("index_signed")) == 1
