"""How approved requests are sent, and what becomes of those that cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from adapters.memory_destination import Answer
from adapters.memory_ledger import MemoryLedger
from adapters.memory_reviews import MemoryReviews
from router.decision import Obligation
from router.errors import DestinationError, ReviewError
from router.ports import Change, Outbound
from router.review.attempting import Asked
from router.review.attempts import Kind
from router.review.dispatching import MOST_AT_ONCE
from router.review.packing import open_content, seal_content
from router.review.sending import KEPT_BYTES, MOST_BYTES, with_key
from router.review.state import Event, State
from tests.unit.identity.parts import HandClock
from tests.unit.review.conftest import Bank
from tests.unit.review.parts import REQUEST, RITA, Desk, told


async def altered(desk: Desk, review_id: str, **changes: Any) -> None:
    """As somebody who can write to the store would do it."""
    store = desk.store
    assert isinstance(store, MemoryReviews)
    review = store._reviews[review_id]
    store._reviews[review_id] = replace(review, held=replace(review.held, **changes))


async def approved(desk: Desk, **held: Any) -> str:
    """An approved request that is not sent yet, as a crash after step 2 leaves it."""
    review_id = await desk.held(**held)
    seen = await desk.service.get(review_id) or {}
    assert await desk.service._attempting.attempt(review_id, RITA, Asked(Kind.APPROVE, digest=seen["content_digest"]))
    await desk.service._record(review_id)
    return review_id


async def shown(desk: Desk, review_id: str) -> dict[str, Any]:
    await desk.service.round()
    await desk.settled()
    return await desk.service.get(review_id) or {}


async def crashed(desk: Desk, outbound: Outbound = REQUEST) -> str:
    """A request that was `dispatching` when its process died."""
    review_id = await approved(desk, outbound=outbound)
    assert await desk.store.change(review_id, 2, Change(Event.DISPATCHED, State.APPROVED, State.DISPATCHING, 1))
    return review_id


async def test_an_approved_request_is_sent_in_the_next_round(desk: Desk, bank: Bank) -> None:
    """Whatever ended before it was sent."""
    found = await shown(desk, await approved(desk))
    assert (found["state"], len(bank.got)) == ("done", 1)


async def test_what_may_have_been_sent_is_not_sent_again(desk: Desk, bank: Bank, ledger: MemoryLedger) -> None:
    """A POST to an upstream that does not deduplicate becomes uncertain and keeps its content for a person."""
    found = await shown(desk, await crashed(desk))
    assert (found["state"], bank.got, found["request"]["method"]) == ("uncertain", [], "POST")
    assert told(ledger.entries)[-1] == "failed dispatch_uncertain"


async def test_what_the_upstream_deduplicates_is_sent_again_under_its_key(desk: Desk, bank: Bank, ledger: MemoryLedger) -> None:
    """The same key as the first time, so that it happens once."""
    assert desk.way is not None
    desk.way = replace(desk.way, deduplicates=True)
    review_id = await crashed(desk)
    assert (await shown(desk, review_id))["state"] == "done"
    assert bank.got[0].idempotency_key == review_id
    assert told(ledger.entries)[-2:] == ["redispatched", "routed 200"]


async def test_what_is_idempotent_is_sent_again(desk: Desk, bank: Bank) -> None:
    """By its method, or because the caller brought a key."""
    await shown(desk, await crashed(desk, replace(REQUEST, method="PUT", idempotent=True)))
    assert [each.method for each in bank.got] == ["PUT"]


async def test_a_request_that_brings_us_down_is_not_sent_for_ever(desk: Desk, bank: Bank) -> None:
    """After five crashes it is for a person, even where sending again is harmless."""
    assert desk.way is not None
    desk.way = replace(desk.way, deduplicates=True)
    review_id = await crashed(desk)
    for version in range(3, 8):
        assert await desk.store.change(review_id, version, Change(Event.REDISPATCHED, State.DISPATCHING, State.DISPATCHING, version))
    assert ((await shown(desk, review_id))["state"], bank.got) == ("uncertain", [])


@pytest.mark.parametrize("changes", [{"content_digest": "0" * 64}, {"sealed": b"\x01" + bytes(64)}, {"summary": {"quorum": 1}}])
async def test_an_altered_row_is_not_sent(desk: Desk, bank: Bank, ledger: MemoryLedger, changes: dict[str, Any]) -> None:
    """Body, digest or terms: it fails with its reason, and the ledger says so."""
    review_id = await approved(desk)
    await altered(desk, review_id, **changes)
    found = await shown(desk, review_id)
    assert (found["state"], bank.got, found["request"]) == ("failed", [], {"problem": "content_changed"})
    assert told(ledger.entries)[-1] == "failed content_changed"


async def test_another_content_under_the_same_key_is_not_sent(desk: Desk, bank: Bank, ledger: MemoryLedger) -> None:
    """Even by one who has the key: what is sent has the digest that was approved."""
    review_id = await approved(desk)
    review = await desk.store.get(review_id)
    assert review is not None
    key = await desk.people.key(review.held.subject_key_id)
    assert key is not None
    content = open_content(key, review.held)
    other = replace(content, outbound=replace(content.outbound, body=b"pay 4711 to me"))
    await altered(desk, review_id, sealed=seal_content(key, other, review.held))
    assert (await shown(desk, review_id))["state"] == "failed"
    assert (told(ledger.entries)[-1], bank.got) == ("failed content_changed", [])


async def test_what_was_approved_too_long_ago_is_not_sent(desk: Desk, bank: Bank, ledger: MemoryLedger, clock: HandClock) -> None:
    """Lockgate, or the policies that would have to judge it once more, were away meanwhile."""
    desk.good_for = 600.0
    one, other = await approved(desk, number=1), await approved(desk, number=2)
    clock.forward(600.0)
    desk.dispatching.start(one)
    await desk.settled()
    clock.forward(0.001)
    found = await shown(desk, other)
    assert (found["state"], [each.idempotency_key for each in bank.got]) == ("failed", [one])
    assert told(ledger.entries)[-1] == "failed approval_too_old"


@pytest.mark.parametrize(("before", "ends"), [(State.APPROVED, "failed"), (State.DISPATCHING, "uncertain")])
async def test_what_its_store_kept_back_for_too_long_is_not_sent(
    desk: Desk, bank: Bank, ledger: MemoryLedger, clock: HandClock, monkeypatch: pytest.MonkeyPatch, before: State, ends: str
) -> None:
    """It was looked at in time, and the store went away before it took the step to sending."""
    assert desk.way is not None
    desk.way, desk.good_for = replace(desk.way, deduplicates=True), 600.0
    review_id = await (approved(desk) if before == State.APPROVED else crashed(desk))
    taken = desk.store.change

    async def late(*step: Any, **kept: Any) -> bool:
        clock.forward(600.1)
        return await taken(*step, **kept)

    monkeypatch.setattr(desk.store, "change", late)
    assert ((await shown(desk, review_id))["state"], bank.got) == (ends, [])
    assert told(ledger.entries)[-1] == "failed approval_too_old"


async def test_what_may_have_been_sent_is_not_sent_again_after_so_long(
    desk: Desk, bank: Bank, ledger: MemoryLedger, clock: HandClock
) -> None:
    """Also where that would be harmless: somebody has to look what came of it."""
    assert desk.way is not None
    desk.way, desk.good_for = replace(desk.way, deduplicates=True), 600.0
    review_id = await crashed(desk)
    clock.forward(600.1)
    assert ((await shown(desk, review_id))["state"], bank.got) == ("uncertain", [])
    assert told(ledger.entries)[-1] == "failed approval_too_old"


async def test_who_was_overtaken_before_sending_sends_nothing(desk: Desk, bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that was silent after its step, and was taken for gone: another one goes on."""
    review_id, change = await approved(desk), desk.store.change

    async def overtaken(decision_id: str, version: int, step: Change, **more: Any) -> bool:
        done = await change(decision_id, version, step, **more)
        if step.event == Event.DISPATCHED:
            assert await change(decision_id, version + 1, Change(Event.REDISPATCHED, State.DISPATCHING, State.DISPATCHING, step.at_ns))
        return done

    monkeypatch.setattr(desk.store, "change", overtaken)
    assert (await shown(desk, review_id))["state"] == "dispatching"
    assert bank.got == []


async def test_an_approval_that_nobody_gave_sends_nothing(desk: Desk, bank: Bank, ledger: MemoryLedger) -> None:
    """A state written into the store is no approval: that is sealed under a reviewer's key and names the content."""
    review_id = await desk.held()
    assert await desk.store.change(review_id, 1, Change(Event.APPROVED, State.PENDING, State.APPROVED, 1))
    found = await shown(desk, review_id)
    assert (found["state"], bank.got) == ("failed", [])
    assert told(ledger.entries)[-1] == "failed approval_unproven"


@pytest.mark.parametrize("name", ["elsewhere", None])
async def test_a_route_that_leads_elsewhere_now_is_not_taken(desk: Desk, bank: Bank, ledger: MemoryLedger, name: str | None) -> None:
    """The approval was for what the route led to."""
    review_id = await approved(desk)
    assert desk.way is not None
    desk.way = None if name is None else replace(desk.way, name=name)
    assert (await shown(desk, review_id))["state"] == "failed"
    assert (told(ledger.entries)[-1], bank.got) == ("failed route_changed", [])


@pytest.mark.parametrize(("sent", "state"), [(False, "failed"), (True, "uncertain")])
async def test_an_upstream_that_fails_is_told_by_what_reached_it(
    desk: Desk, bank: Bank, ledger: MemoryLedger, sent: bool, state: str
) -> None:
    """Nothing sent is a failure; something sent is for a person to look at."""
    bank.answer = DestinationError("gone", "upstream_reset", 502, sent=sent)
    assert (await desk.approve(await desk.held()))["state"] == state
    assert told(ledger.entries)[-1] == "failed upstream_reset"


async def test_a_destination_that_breaks_leaves_it_uncertain(desk: Desk, bank: Bank, caplog: pytest.LogCaptureFixture) -> None:
    """A fault of ours is logged, and is no reason to send again."""
    bank.answer = RuntimeError("a bug")
    assert (await desk.approve(await desk.held()))["state"] == "uncertain"
    assert "a bug" in caplog.text


async def test_an_upstream_that_refuses_has_answered(desk: Desk, bank: Bank) -> None:
    """Its status is the outcome; what was asked is done with."""
    bank.answer = Answer(409, [], b"balance too low")
    found = await desk.approve(await desk.held())
    assert (found["state"], found["reply"]["status"], found["reply"]["body"]) == ("done", 409, "balance too low")


async def test_of_a_long_answer_the_beginning_is_kept(desk: Desk, bank: Bank) -> None:
    """And said to be only that."""
    bank.answer = Answer(200, [], b"x" * (KEPT_BYTES + 1))
    reply = (await desk.approve(await desk.held()))["reply"]
    assert (len(reply["body"]), reply["whole"]) == (KEPT_BYTES, False)


async def test_an_endless_answer_is_left(desk: Desk, bank: Bank, ledger: MemoryLedger) -> None:
    """The upstream has acted; what it goes on saying is not waited for."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(MOST_BYTES // 4)

    bank.answer = Answer(200, [], endless())
    assert (await desk.approve(await desk.held()))["state"] == "done"
    assert told(ledger.entries)[-1] == "failed response_too_long"


async def test_an_answer_that_does_not_end_is_left(desk: Desk, bank: Bank, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came of it is kept, and the outcome says that there may have been more."""
    monkeypatch.setattr("router.review.sending.MOST_SECONDS", 0.01)

    async def trickling() -> AsyncIterator[bytes]:
        yield b"paid"
        await asyncio.get_running_loop().create_future()

    bank.answer = Answer(200, [], trickling())
    reply = (await desk.approve(await desk.held()))["reply"]
    assert (reply["body"], reply["whole"]) == ("paid", False)
    assert told(ledger.entries)[-1] == "failed response_too_slow"


async def test_of_an_answer_that_policy_finds_too_long_nothing_is_kept(desk: Desk, bank: Bank, ledger: MemoryLedger) -> None:
    """The limit was put on the request when it was held; the outcome says why there is no answer."""
    bank.answer = Answer(200, [], b"x" * 10)
    reply = (await desk.approve(await desk.held(obligations=(Obligation("limit_response", {"bytes": 9}),))))["reply"]
    assert (reply["body"], reply["whole"]) == ("", False)
    assert told(ledger.entries)[-1] == "failed response_too_large"


async def test_an_outcome_waits_for_a_store_that_fails(desk: Desk, bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """How it ended is not lost to a full disk, nor is it sent again."""
    monkeypatch.setattr("router.review.dispatching.RETRY_S", 0.001)
    review_id, store = await approved(desk), desk.store
    assert isinstance(store, MemoryReviews)

    async def break_for_a_moment() -> None:
        store.failing = ReviewError("The disk is full.")
        asyncio.get_running_loop().call_later(0.02, setattr, store, "failing", None)

    bank.meanwhile = break_for_a_moment
    found = await shown(desk, review_id)
    assert (found["state"], len(bank.got)) == ("done", 1)


async def test_after_an_outage_not_everything_is_sent_at_once(desk: Desk, bank: Bank) -> None:
    """A destination that is asked too much would refuse, and what was approved would have failed."""
    for number in range(40):
        await approved(desk, number=number)
    most = under_way = 0

    async def count() -> None:
        nonlocal most, under_way
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1

    bank.meanwhile = count
    await desk.service.round()
    await desk.settled()
    assert (len(bank.got), most) == (40, MOST_AT_ONCE)


async def test_two_rounds_at_once_send_once(desk: Desk, bank: Bank) -> None:
    """One request has one task, and its step is compared and set."""
    review_id = await approved(desk)
    await asyncio.gather(*(desk.service.round() for _ in range(5)))
    await desk.settled()
    assert len(bank.got) == 1
    assert (await shown(desk, review_id))["state"] == "done"


async def test_what_is_stopped_while_it_is_sent_is_as_after_a_crash(desk: Desk, bank: Bank) -> None:
    """`close` leaves it `dispatching`, and the next start settles it."""
    arrived = asyncio.Event()

    async def hang() -> None:
        arrived.set()
        await asyncio.Event().wait()

    bank.meanwhile = hang
    review_id = await desk.held()
    approving = asyncio.ensure_future(desk.approve(review_id))
    await arrived.wait()
    await desk.service.close(0)
    assert (await approving)["state"] == "dispatching"
    assert ((await shown(desk, review_id))["state"], len(bank.got)) == ("uncertain", 1)


def test_the_callers_own_key_stays() -> None:
    """Else the decision's id becomes the key, which alone makes nothing repeatable."""
    own = replace(REQUEST, headers=[(b"Idempotency-Key", b"mine")], idempotency_key="mine", idempotent=True)
    assert with_key(own, "d1", deduplicates=False) == own
    given = with_key(REQUEST, "d1", deduplicates=False)
    assert (given.headers[-1], given.idempotency_key, given.idempotent) == ((b"idempotency-key", b"d1"), "d1", False)
    assert with_key(REQUEST, "d1", deduplicates=True).idempotent


async def test_an_erased_requester_ends_what_they_asked_for(desk: Desk, bank: Bank, ledger: MemoryLedger) -> None:
    """Without the key there is nothing to send."""
    review_id = await approved(desk)
    keys: Any = desk.keys
    keys._keys.pop(next(name for name in keys._keys if name != RITA.id))
    found = await shown(desk, review_id)
    assert (found["state"], found["request"], bank.got) == ("failed", {"problem": "erased"}, [])
    assert told(ledger.entries)[-1] == "failed subject_erased"
