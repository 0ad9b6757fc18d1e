"""What people can do with held requests."""

from __future__ import annotations

import asyncio
from itertools import count

import orjson
import pytest

from adapters.memory_ledger import MemoryLedger
from router.decision import Subject
from router.errors import AuditError, LockgateError, RefusedError, ReviewError
from router.ports import Entry
from tests.unit.identity.parts import HandClock
from tests.unit.review.conftest import Bank
from tests.unit.review.parts import ANNA, RITA, RUBEN, Desk, told


async def refused(attempt: object) -> str:
    with pytest.raises(LockgateError) as error:
        await attempt  # type: ignore[misc]  # a coroutine
    return error.value.code


async def test_what_is_held_is_in_the_ledger_with_its_content(desk: Desk, ledger: MemoryLedger) -> None:
    """The record commits to the digest, without which an approval would be for anything."""
    await desk.held()
    assert told(ledger.entries) == ["held"]
    assert orjson.loads(ledger.entries[0].leaf)["commitments"].keys() == {"content_digest"}


async def test_a_reviewer_sees_what_is_asked(desk: Desk) -> None:
    """The masked text, who asks, and where it would go; the body stays sealed."""
    shown = await desk.service.get(await desk.held())
    assert shown is not None
    told_of = {"subject": ANNA.id, "text": "cancel 4711 for <name>", "method": "POST", "target": "/pay?from=1"}
    assert shown["request"] == {**told_of, "actors": [], "information": []}
    assert "Zoe Quist" not in orjson.dumps(shown).decode()


async def test_a_list_tells_nothing_personal(desk: Desk) -> None:
    """What somebody wrote is opened one by one."""
    await desk.held()
    rows, cursor = await desk.service.list("pending", None, 10)
    assert (len(rows), cursor) == (1, None)
    assert not [word for word in ("4711", ANNA.id, "<name>") if word in orjson.dumps(rows).decode()]


async def test_a_list_is_paged_to_its_end(desk: Desk) -> None:
    """Every cursor goes on where its page ended."""
    ids = [await desk.held(number) for number in range(5)]
    seen, cursor = [], None
    while True:
        rows, cursor = await desk.service.list(None, cursor, 2)
        seen += [row["id"] for row in rows]
        if cursor is None:
            break
    assert seen == ids


@pytest.mark.parametrize(("state", "cursor"), [("waiting", None), (None, "x"), (None, "-1"), (None, "9" * 30), (None, "²")])
async def test_an_odd_question_is_refused(desk: Desk, state: str | None, cursor: str | None) -> None:
    """In a sentence, with no state or cursor made up for it."""
    with pytest.raises(RefusedError):
        await desk.service.list(state, cursor, 10)


async def test_an_approval_sends_the_stored_request_once(desk: Desk, bank: Bank, ledger: MemoryLedger) -> None:
    """With the decision's id as its idempotency key; the reply can be read afterwards."""
    review_id = await desk.held()
    shown = await desk.approve(review_id, comment="looks right")
    assert [(each.method, each.target, each.body) for each in bank.got] == [("POST", "/pay?from=1", b"pay 4711 to Zoe Quist")]
    assert (b"idempotency-key", review_id.encode()) in bank.got[0].headers
    assert shown["state"] == "done"
    assert shown["reply"] == {"status": 200, "content_type": "text/plain", "body": "paid", "whole": True}
    assert told(ledger.entries) == ["held", "approved", "dispatched", "routed 200"]


async def test_the_history_says_who_and_why(desk: Desk) -> None:
    """Every step, with the reviewer's name and words opened from under the reviewer's own key."""
    shown = await desk.approve(await desk.held(), comment="looks right")
    steps = [(step["event"], step["from"], step["to"], step["by"], step["comment"]) for step in shown["history"]]
    assert steps == [
        ("held", "", "pending", None, None),
        ("approved", "pending", "approved", "rita", "looks right"),
        ("dispatched", "approved", "dispatching", None, None),
        ("done", "dispatching", "done", None, None),
    ]
    assert all(step["recorded"] for step in shown["history"])


async def test_what_is_done_is_forgotten_but_for_its_digest(desk: Desk) -> None:
    """The sealed request is removed; the reply and the terms stay."""
    review_id = await desk.held()
    await desk.approve(review_id)
    review = await desk.store.get(review_id)
    assert review is not None
    assert review.held.sealed == b""
    shown = await desk.service.get(review_id)
    assert shown is not None
    assert shown["request"] == {"problem": "removed"}
    assert len(shown["content_digest"]) == 64


async def test_a_quorum_needs_as_many_people(desk: Desk, bank: Bank, ledger: MemoryLedger) -> None:
    """Nothing is sent after the first of two, and the same person twice is one."""
    review_id = await desk.held(quorum=2)
    first = await desk.approve(review_id)
    assert (first["state"], first["approvals"], bank.got) == ("pending", 1, [])
    assert (await desk.approve(review_id))["version"] == first["version"]  # the same again is the same
    assert (await desk.approve(review_id, RUBEN))["state"] == "done"
    details = [orjson.loads(entry.leaf)["details"] for entry in ledger.entries[1:3]]
    assert [(each["approvals"], each["quorum"]) for each in details] == [(1, 2), (2, 2)]


async def test_people_who_approve_at_once_are_each_counted(desk: Desk, bank: Bank) -> None:
    """Of two that race for the second place both count, and one request is sent."""
    review_id = await desk.held(quorum=3)
    people = [Subject(f"reviewer-{number}", "user", ("manager",)) for number in range(6)]
    answers = await asyncio.gather(*(desk.approve(review_id, who) for who in people), return_exceptions=True)
    late = [answer.code for answer in answers if isinstance(answer, ReviewError)]
    assert late == ["review_not_pending"] * 3
    await desk.settled()
    assert len(bank.got) == 1


async def test_nobody_approves_their_own_request(desk: Desk, bank: Bank) -> None:
    """Whatever their roles; taking it back is theirs."""
    review_id = await desk.held()
    assert await refused(desk.approve(review_id, ANNA)) == "self_approval"
    assert (await desk.service.reject(review_id, ANNA, "no longer needed"))["state"] == "rejected"
    assert bank.got == []


async def test_an_approval_of_another_content_is_refused(desk: Desk) -> None:
    """The digest is that of what was shown."""
    review_id = await desk.held()
    assert await refused(desk.service.approve(review_id, RITA, "", "0" * 64)) == "content_changed"


async def test_a_rejection_ends_it(desk: Desk, bank: Bank, ledger: MemoryLedger) -> None:
    """Recorded with its reviewer and as the decision's outcome; the content is removed."""
    review_id = await desk.held()
    shown = await desk.service.reject(review_id, RITA, "not this month")
    assert (shown["state"], shown["request"]) == ("rejected", {"problem": "removed"})
    assert await refused(desk.approve(review_id)) == "review_not_pending"
    assert told(ledger.entries) == ["held", "rejected", "denied review_rejected", "refused"]
    assert bank.got == []


async def test_what_nobody_decides_expires(desk: Desk, clock: HandClock, ledger: MemoryLedger) -> None:
    """Not before its time; then it is recorded, forgotten and cannot be approved."""
    review_id = await desk.held(expires="10s")
    clock.forward(9)
    await desk.service.expire_due()
    assert desk.service.pending == 1
    clock.forward(1)
    assert await refused(desk.approve(review_id)) == "review_expired"
    await desk.service.round()
    shown = await desk.service.get(review_id)
    assert shown is not None
    assert (shown["state"], shown["request"], desk.service.pending) == ("expired", {"problem": "removed"}, 0)
    assert told(ledger.entries) == ["held", "refused", "expired", "denied review_expired"]


async def test_an_unknown_review_is_not_found(desk: Desk) -> None:
    """For showing it is None, for deciding a refusal."""
    assert await desk.service.get("nothing") is None
    assert await refused(desk.service.reject("nothing", RITA, "")) == "review_not_found"


async def test_without_a_ledger_nothing_is_held_or_decided(desk: Desk, bank: Bank, ledger: MemoryLedger) -> None:
    """What cannot be recorded does not happen."""
    review_id = await desk.held()
    ledger.failing = AuditError("The disk is full.", "audit_disk_full")
    assert await refused(desk.held(2)) == "audit_disk_full"
    assert await refused(desk.approve(review_id)) == "audit_disk_full"
    assert await desk.store.get("019ab9d0-1111-7000-8000-000000000002") is None
    shown = await desk.service.get(review_id)
    assert shown is not None
    assert (shown["state"], bank.got) == ("pending", [])


async def held_or_not(desk: Desk) -> tuple[str, bool]:
    """(the code, whether it may be held all the same)"""
    with pytest.raises(LockgateError) as error:
        await desk.held()
    return error.value.code, error.value.unsettled


async def test_what_is_held_is_said_to_be_perhaps_where_its_key_cannot_be_looked_at_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reviewer finds it, so that another of it would be a second one."""
    key, asked = desk.people.key, count(1)

    async def once(key_id: str) -> bytes | None:
        if next(asked) > 1:
            raise AuditError("The keys are away.")
        return await key(key_id)

    monkeypatch.setattr(desk.people, "key", once)
    assert await held_or_not(desk) == ("audit_unavailable", True)
    assert await desk.store.count(["pending"]) == 1


@pytest.mark.parametrize("untouched", [False, True])
async def test_where_the_store_was_never_asked_nothing_is_held(desk: Desk, monkeypatch: pytest.MonkeyPatch, untouched: bool) -> None:
    """So the request may be made again under its key."""

    async def fail(*_: object, **__: object) -> None:
        failed = ReviewError("The store is away.")
        failed.untouched = untouched
        raise failed

    monkeypatch.setattr(desk.store, "add", fail)
    assert await held_or_not(desk) == ("review_store_unavailable", not untouched)


async def test_an_approval_that_is_not_recorded_sends_nothing_yet(
    desk: Desk, bank: Bank, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger fails between the two: the reviewer is told, the approval stands, and once it is recorded the request is sent."""
    review_id, append = await desk.held(), ledger.append

    async def fail(entry: Entry) -> int:
        raise AuditError("The disk is full.", "audit_disk_full")

    monkeypatch.setattr(ledger, "append", fail)
    assert await refused(desk.approve(review_id)) == "audit_disk_full"
    await desk.service.round()
    await desk.settled()
    shown = await desk.service.get(review_id)
    assert shown is not None
    assert (shown["state"], shown["history"][-1]["recorded"], bank.got) == ("approved", False, [])
    monkeypatch.setattr(ledger, "append", append)
    await desk.service.round()
    await desk.settled()
    assert len(bank.got) == 1
    assert told(ledger.entries) == ["held", "approved", "dispatched", "routed 200"]


async def test_a_record_that_the_ledger_refuses_stands_in_nobodys_way(
    desk: Desk, bank: Bank, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other requests go on."""
    stuck, append = await desk.held(1), ledger.append

    async def fail(entry: Entry) -> int:
        if stuck.encode() in entry.leaf:
            raise AuditError("This one is malformed.", "audit_record_invalid")
        return await append(entry)

    monkeypatch.setattr(ledger, "append", fail)
    assert await refused(desk.approve(stuck)) == "audit_record_invalid"
    assert (await desk.approve(await desk.held(2)))["state"] == "done"
    await desk.service.round()
    assert len(bank.got) == 1


async def test_pending_follows_what_happens(desk: Desk) -> None:
    """The number of requests that wait for a person."""
    first, second = await desk.held(1), await desk.held(2)
    assert desk.service.pending == 2
    await desk.service.reject(first, RITA, "")
    await desk.approve(second)
    assert desk.service.pending == 0
