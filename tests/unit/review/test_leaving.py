"""Held requests of services that enforce decisions themselves: approved, they are left to the service, and nothing is sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapters.memory_ledger import MemoryLedger
from adapters.memory_reviews import MemoryReviews
from router.errors import AuditError, ReviewError
from tests.unit.review.conftest import Bank
from tests.unit.review.parts import RITA, Desk, told
from tests.unit.review.test_dispatching import approved, shown


async def test_an_approval_lets_the_service_go_ahead(desk: Desk, bank: Bank, ledger: MemoryLedger) -> None:
    """The ledger has `released` and no outcome, which only the service knows; the destination hears nothing."""
    shown = await desk.approve(await desk.held(door="decide"))
    assert (shown["state"], bank.got, shown["request"]) == ("released", [], {"problem": "removed"})
    assert told(ledger.entries) == ["held", "approved", "released"]


async def test_it_needs_no_destination(desk: Desk) -> None:
    """Where the route leads is the service's business."""
    desk.way = None
    assert (await desk.approve(await desk.held(door="decide")))["state"] == "released"


async def test_it_waits_for_all_who_must_approve(desk: Desk) -> None:
    """One of two is not enough."""
    review_id = await desk.held(door="decide", quorum=2)
    assert (await desk.approve(review_id))["state"] == "pending"


async def test_what_is_released_cannot_be_rejected_any_more(desk: Desk) -> None:
    """The service may have gone ahead."""
    review_id = await desk.held(door="decide")
    await desk.approve(review_id)
    with pytest.raises(ReviewError, match="released") as caught:
        await desk.service.reject(review_id, RITA, "")
    assert caught.value.code == "review_not_pending"


async def test_who_sends_it_is_bound_by_the_seal(desk: Desk, bank: Bank) -> None:
    """Whoever can write to the store cannot have a gateway's request released to somebody."""
    review_id, store = await desk.held(), desk.store
    assert isinstance(store, MemoryReviews)
    review = store._reviews[review_id]
    store._reviews[review_id] = replace(review, held=replace(review.held, summary={**review.held.summary, "left_to_asker": True}))
    with pytest.raises(ReviewError) as caught:
        await desk.approve(review_id)
    assert (caught.value.code, bank.got) == ("content_changed", [])


async def test_an_approval_that_a_crash_cut_short_is_released_in_the_next_round(desk: Desk, bank: Bank, ledger: MemoryLedger) -> None:
    """Whatever ended before it was; and once."""
    review_id = await approved(desk, door="decide")
    for _ in range(2):
        found = await shown(desk, review_id)
        assert (found["state"], bank.got) == ("released", [])
    assert told(ledger.entries) == ["held", "approved", "released"]


async def test_nothing_is_released_before_its_approval_is_on_record(desk: Desk, ledger: MemoryLedger) -> None:
    """While the ledger is away the service is told that it waits."""
    review_id = await approved(desk, door="decide")
    ledger.failing = AuditError("away")
    assert (await shown(desk, review_id))["state"] == "approved"
    ledger.failing = None
    assert (await shown(desk, review_id))["state"] == "released"


async def test_an_approval_that_nobody_gave_releases_nothing(desk: Desk) -> None:
    """Whoever can write to the store can say `approved`, and not make the approval's seal."""
    review_id, store = await desk.held(door="decide"), desk.store
    assert isinstance(store, MemoryReviews)
    store._reviews[review_id] = replace(store._reviews[review_id], state="approved")
    assert (await shown(desk, review_id))["state"] == "failed"
