"""What becomes of held requests when the key of whoever asked is destroyed."""

from __future__ import annotations

import pytest

from adapters.memory_destination import MemoryDestination
from adapters.memory_ledger import MemoryLedger, MemorySubjectKeys
from adapters.memory_reviews import MemoryReviews
from router.errors import ReviewError
from router.ports import Change, Held
from router.review.forgetting import forget_subject
from router.review.recording import Recording
from tests.unit.identity.parts import HandClock
from tests.unit.review.conftest import Bank
from tests.unit.review.parts import ANNA, Desk, told, way
from tests.unit.review.test_dispatching import approved, crashed


async def erased(desk: Desk, ledger: MemoryLedger) -> list[str]:
    """Anna's key is destroyed, and what she asked for is ended; the ids of that."""
    assert isinstance(desk.keys, MemorySubjectKeys)
    key_id, _ = await desk.keys.key_for(ANNA.id)
    await desk.keys.destroy(key_id)
    return await forget_subject(desk.store, Recording(desk.store, ledger), desk.clock, key_id)


async def test_what_waits_for_a_person_ends_with_its_reason(desk: Desk, bank: Bank, ledger: MemoryLedger) -> None:
    """Expired, its content removed, the decision denied; another round changes nothing."""
    review_id = await desk.held()
    assert await erased(desk, ledger) == [review_id]
    await desk.service.round()
    found = await desk.service.get(review_id) or {}
    assert (found["state"], found["request"], bank.got) == ("expired", {"problem": "removed"}, [])
    assert told(ledger.entries) == ["held", "expired", "denied subject_erased"]


async def test_what_was_approved_and_not_sent_is_not_sent(desk: Desk, bank: Bank, ledger: MemoryLedger) -> None:
    """It has failed, and nothing reached the upstream."""
    review_id = await approved(desk)
    assert await erased(desk, ledger) == [review_id]
    await desk.service.round()
    await desk.settled()
    assert ((await desk.service.get(review_id) or {})["state"], bank.got) == ("failed", [])
    assert told(ledger.entries)[-1] == "failed subject_erased"


async def test_what_is_being_sent_is_left(desk: Desk, ledger: MemoryLedger) -> None:
    """It was sent before; how it ends is recorded as always."""
    review_id = await crashed(desk)
    assert await erased(desk, ledger) == []
    assert ((await desk.service.get(review_id) or {})["state"]) == "dispatching"


async def test_what_others_asked_for_goes_on(desk: Desk, ledger: MemoryLedger) -> None:
    """One subject's requests among many."""
    ids = [await desk.held(number) for number in range(3)]
    assert await forget_subject(desk.store, Recording(desk.store, ledger), desk.clock, "another's key") == []
    assert {(await desk.service.get(each) or {})["state"] for each in ids} == {"pending"}


class Destroying(MemoryReviews):
    """Whoever asked is erased just before their request is kept."""

    def __init__(self, keys: MemorySubjectKeys) -> None:
        super().__init__()
        self._subject_keys = keys

    async def add(self, held: Held, change: Change, *, due_ns: int | None = None) -> None:
        await self._subject_keys.destroy(held.subject_key_id)
        await super().add(held, change, due_ns=due_ns)


async def test_what_is_held_while_its_key_is_destroyed_ends_at_once(bank: Bank, clock: HandClock, ledger: MemoryLedger) -> None:
    """Who ended what was held may have looked before this one was kept."""
    keys, destination = MemorySubjectKeys(), MemoryDestination(bank.handle)
    store = Destroying(keys)
    await store.open()
    desk = Desk(store, ledger, keys, clock, way(destination))
    with pytest.raises(ReviewError) as refused:
        await desk.held()
    assert refused.value.code == "subject_erased"
    assert [review.state for _, review in await store.page((), 0, 10)] == ["expired"]
    await desk.service.close(0)
    await store.close()
