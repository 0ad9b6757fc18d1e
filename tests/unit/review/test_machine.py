"""What else than yes and no becomes of held requests: claims, questions, changes, other routes, levels, ends."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from typing import Any

import orjson
import pytest

from adapters.memory_ledger import MemoryLedger
from router.decision import Effect, Obligation, Reason, Subject, Verdict
from router.errors import LockgateError
from router.ports import Outbound
from router.review.attempting import Asked
from router.review.attempts import Kind
from tests.unit.audit.samples import VERDICT
from tests.unit.identity.parts import HandClock
from tests.unit.review.conftest import Bank
from tests.unit.review.parts import ANNA, RITA, RUBEN, Desk, told

PAYMENT = Outbound("POST", "/pay", [(b"content-type", b"application/json"), (b"content-length", b"26")], b'{"to":"zoe","amount":4711}')
CHIEF = Subject("cleo", "user", ("chief",))
OFFICER = Subject("otto", "user", ("risk_officer", "payments_lead"))
LEAD = Subject("lena", "user", ("payments_lead",))


async def refused(attempt: Any) -> str:
    with pytest.raises(LockgateError) as error:
        await attempt
    return error.value.code


def refusals(ledger: MemoryLedger) -> list[tuple[str, str]]:
    leaves = [orjson.loads(entry.leaf) for entry in ledger.entries]
    return [(leaf["details"]["attempt"], leaf["details"]["reason"]) for leaf in leaves if leaf.get("event") == "refused"]


async def test_a_claim_keeps_others_from_deciding(desk: Desk, clock: HandClock) -> None:
    """Until it is given back, or over; once more, and it lasts anew."""
    review_id = await desk.held(claim="10m")
    assert (await desk.attempt(review_id, RITA, Kind.CLAIM))["state"] == "assigned"
    assert await refused(desk.approve(review_id, RUBEN)) == "review_claimed"
    clock.forward(300)
    again = await desk.attempt(review_id, RITA, Kind.CLAIM)
    assert [step["event"] for step in again["history"]] == ["held", "claimed", "renewed"]
    clock.forward(599)
    await desk.service.round()
    assert (await desk.service.get(review_id) or {})["claimed_by"] == RITA.id
    assert (await desk.attempt(review_id, RITA, Kind.RELEASE))["state"] == "pending"
    assert (await desk.approve(review_id, RUBEN))["state"] == "done"


async def test_a_claim_lapses(desk: Desk, clock: HandClock, ledger: MemoryLedger) -> None:
    """And the ledger says so, once."""
    review_id = await desk.held(claim="10m")
    await desk.attempt(review_id, RITA, Kind.CLAIM)
    clock.forward(600)
    for _ in range(2):
        await desk.service.round()
    assert told(ledger.entries) == ["held", "claimed", "lapsed"]
    assert (await desk.approve(review_id, RUBEN))["state"] == "done"


async def test_of_several_roles_each_is_another_persons(desk: Desk, bank: Bank) -> None:
    """One risk officer and one payments lead: who is both is one of them."""
    review_id = await desk.held(reviewers=[], each_of=["risk_officer", "payments_lead"])
    first = await desk.approve(review_id, OFFICER)
    assert (first["state"], first["quorum"], len(first["missing_roles"])) == ("pending", 2, 1)
    assert await refused(desk.approve(review_id, RITA)) == "reviewer_role_missing"
    assert (await desk.approve(review_id, LEAD))["state"] == "done"
    assert len(bank.got) == 1


async def test_what_a_reviewer_changes_is_what_is_sent(desk: Desk, bank: Bank) -> None:
    """The field, the length, and nothing else; who changed it has approved it so."""
    review_id = await desk.held(outbound=PAYMENT, modify=["/amount"])
    before = await desk.service.get(review_id) or {}
    after = await desk.attempt(review_id, RITA, Kind.MODIFY, changes={"/amount": 100})
    assert (after["state"], after["content_digest"] == before["content_digest"]) == ("done", False)
    assert bank.got[0].body == b'{"to":"zoe","amount":100}'
    assert dict(bank.got[0].headers)[b"content-length"] == b"25"


async def test_a_change_voids_what_was_approved_before(desk: Desk, bank: Bank) -> None:
    """Two are wanted, and the first approved something else."""
    review_id = await desk.held(outbound=PAYMENT, modify=["/amount"], quorum=2)
    await desk.approve(review_id, RITA)
    changed = await desk.attempt(review_id, RUBEN, Kind.MODIFY, changes={"/amount": 1})
    assert (changed["state"], changed["approvals"], changed["round"], bank.got) == ("pending", 1, 1, [])
    assert (await desk.approve(review_id, RITA))["state"] == "done"


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({"/to": "me"}, PAYMENT.body),
        ({"/amount/x": 1}, PAYMENT.body),
        ({}, PAYMENT.body),
        ({"/amount": 1}, b'{"amount":1,"amount":2}'),
        ({"/amount": 1}, b'{"amount":1,"rate":0.12345678901234567890123}'),
        ({"/amount": 1}, b"not json"),
        ({"/amount": float("inf")}, PAYMENT.body),
    ],
)
async def test_only_what_policy_names_is_changed_and_all_else_stays(desk: Desk, ledger: MemoryLedger, changes: Any, body: bytes) -> None:
    """Another field, a place that is not there, a body that would come out otherwise: nothing happens."""
    review_id = await desk.held(outbound=replace(PAYMENT, body=body), modify=["/amount"])
    assert await refused(desk.attempt(review_id, RITA, Kind.MODIFY, changes=changes)) == "modification_refused"
    assert told(ledger.entries) == ["held", "refused"]


async def test_what_policy_denies_is_not_sent_whoever_changed_it(desk: Desk, bank: Bank) -> None:
    """A change is judged as it would be sent."""
    review_id = await desk.held(outbound=PAYMENT, modify=["/amount"])
    again = desk.judge.engine.evaluate

    async def stricter(entry: str, intent: Any, document: Any) -> Verdict:
        if entry == "decision" and document["request"]["body"]["bytes"] == len(b'{"to":"zoe","amount":1}'):
            return Verdict(Effect.DENY, (Reason("risk.critical"),), digest=VERDICT.digest)
        return await again(entry, intent, document)

    desk.policy.evaluate = stricter  # type: ignore[method-assign]  # a policy that looks at how long the body is
    assert await refused(desk.attempt(review_id, RITA, Kind.MODIFY, changes={"/amount": 1})) == "change_denied"
    assert (await desk.service.get(review_id) or {})["state"] == "pending"
    assert bank.got == []


async def test_a_change_is_looked_at_for_what_it_says(desk: Desk) -> None:
    """What a reviewer writes into it is found as in any other request."""
    review_id = await desk.held(outbound=PAYMENT, modify=["/to"], quorum=2)
    seen: list[Any] = []
    before = desk.policy.evaluate

    async def noting(entry: str, intent: Any, document: Any) -> Verdict:
        seen.append(document)
        return await before(entry, intent, document)

    desk.policy.evaluate = noting  # type: ignore[method-assign]  # to see what it is told
    await desk.attempt(review_id, RITA, Kind.MODIFY, changes={"/to": "DE89370400440532013000"})
    told_of = [each["signals"]["findings"] for each in seen if each["entry"] == "decision"]
    assert "pii.iban" not in told_of[0]
    assert "pii.iban" in told_of[-1]


async def test_another_route_is_one_that_policy_names(desk: Desk, bank: Bank) -> None:
    """With the path of its own, judged anew, approved by who chose it."""
    review_id = await desk.held(outbound=PAYMENT, reroute=["desk.ask"])
    assert await refused(desk.attempt(review_id, RITA, Kind.REROUTE, route="bank.ask")) == "reroute_refused"
    assert desk.way is not None
    desk.ways["desk.ask"] = replace(desk.way, name="desk")
    sent = await desk.attempt(review_id, RITA, Kind.REROUTE, route="desk.ask")
    assert (sent["state"], sent["route"], sent["destination"], bank.got[0].target) == ("done", "desk.ask", "desk", "/desk")


async def test_a_question_waits_for_its_answer(desk: Desk, ledger: MemoryLedger) -> None:
    """Nobody approves meanwhile; the answer is evidence, which approvals of before do not cover."""
    review_id = await desk.held(quorum=2)
    await desk.approve(review_id, RITA)
    assert (await desk.attempt(review_id, RUBEN, Kind.ASK, "which invoice?"))["state"] == "more_information"
    assert await refused(desk.approve(review_id, RUBEN)) == "review_not_pending"
    assert (await desk.service.question(review_id, ANNA))["question"] == "which invoice?"
    assert await refused(desk.service.question(review_id, RITA)) == "not_requester"
    assert await refused(desk.attempt(review_id, RITA, Kind.ANSWER, "any")) == "not_requester"
    back = await desk.attempt(review_id, ANNA, Kind.ANSWER, "number 17")
    assert (back["state"], back["approvals"]) == ("pending", 0)
    assert [(each["question"], each["text"]) for each in back["request"]["information"]] == [("which invoice?", "number 17")]
    assert (await desk.approve(review_id, RITA))["state"] == "pending"
    assert (await desk.approve(review_id, RUBEN))["state"] == "done"
    assert not [entry for entry in ledger.entries if b"invoice" in entry.leaf]


async def test_a_question_that_nobody_answers_ends_it(desk: Desk, clock: HandClock, ledger: MemoryLedger) -> None:
    """By a deadline of its own, before the request's."""
    review_id = await desk.held(respond="1m", expires="1h")
    await desk.attempt(review_id, RITA, Kind.ASK, "why?")
    clock.forward(60)
    await desk.service.round()
    assert (await desk.service.get(review_id) or {})["state"] == "expired"
    assert told(ledger.entries)[-2:] == ["expired", "denied review_unanswered"]


async def test_only_a_levels_people_decide_there(desk: Desk, clock: HandClock) -> None:
    """By hand, and by time; approvals of before count no more."""
    review_id = await desk.held(quorum=2, escalate="10m", escalate_to=["chief"])
    await desk.approve(review_id, RITA)
    clock.forward(600)
    await desk.service.round()
    shown = await desk.service.get(review_id) or {}
    assert (shown["state"], shown["level"], shown["approvals"], shown["reviewers"]) == ("escalated", 1, 0, ["chief"])
    assert await refused(desk.approve(review_id, RUBEN)) == "reviewer_role_missing"
    assert (await desk.approve(review_id, CHIEF))["state"] == "escalated"
    assert await refused(desk.attempt(review_id, CHIEF, Kind.ESCALATE)) == "escalation_unknown"
    assert (await desk.approve(review_id, replace(CHIEF, id="carl")))["state"] == "done"


async def test_each_level_has_its_own_time(desk: Desk, clock: HandClock) -> None:
    """From when it began, and not from when the request was held."""
    review_id = await desk.held(escalate="10m", escalate_to=["chief", "board"], expires="1h")
    levels = []
    for seconds in (599, 1, 599, 1):
        clock.forward(seconds)
        await desk.service.round()
        levels.append((await desk.service.get(review_id) or {})["level"])
    assert levels == [0, 1, 1, 2]


async def test_what_was_escalated_does_not_go_by_itself(desk: Desk, bank: Bank, clock: HandClock) -> None:
    """Somebody thought it worth a look from above: that nobody took it is no yes, whatever policy said of low risk."""
    review_id = await desk.held(risk="low", on_expiry="allow", escalate="10m", escalate_to=["chief"], expires="30m")
    for seconds in (600, 1200):
        clock.forward(seconds)
        await desk.service.round()
        await desk.settled()
    assert ((await desk.service.get(review_id) or {})["state"], bank.got) == ("expired", [])


async def test_a_reviewer_may_escalate(desk: Desk) -> None:
    """Once by one person, however often they say so."""
    review_id = await desk.held(escalate_to=["chief", "board"])
    for _ in range(2):
        assert (await desk.attempt(review_id, RITA, Kind.ESCALATE))["level"] == 1
    assert (await desk.attempt(review_id, CHIEF, Kind.ESCALATE))["level"] == 2


async def test_who_asked_takes_it_back(desk: Desk, bank: Bank, ledger: MemoryLedger) -> None:
    """For good."""
    review_id = await desk.held()
    assert await refused(desk.attempt(review_id, RITA, Kind.CANCEL)) == "not_requester"
    for _ in range(2):
        assert (await desk.attempt(review_id, ANNA, Kind.CANCEL))["state"] == "cancelled"
    assert told(ledger.entries) == ["held", "refused", "cancelled", "denied review_cancelled"]
    assert bank.got == []


async def test_low_risk_goes_where_policy_said_so_when_it_was_held(desk: Desk, clock: HandClock, bank: Bank, ledger: MemoryLedger) -> None:
    """And it is on record that nobody decided; nothing else goes."""
    low = await desk.held(1, risk="low", on_expiry="allow", expires="10m")
    medium = await desk.held(2, on_expiry="allow", expires="10m")
    clock.forward(600)
    await desk.service.round()
    await desk.settled()
    assert [(await desk.service.get(each) or {})["state"] for each in (low, medium)] == ["done", "expired"]
    assert "expiry_allowed" in told(ledger.entries)
    assert len(bank.got) == 1


async def test_the_same_step_again_is_the_same(desk: Desk, ledger: MemoryLedger) -> None:
    """An answer that got lost is given again: no second step, no second record."""
    review_id = await desk.held(quorum=2)
    digest = (await desk.service.get(review_id) or {})["content_digest"]
    first = await desk.attempt(review_id, RITA, Kind.APPROVE, digest=digest, version=1)
    again = await desk.attempt(review_id, RITA, Kind.APPROVE, digest=digest, version=1)
    assert first == again
    assert told(ledger.entries) == ["held", "approved"]


async def test_another_version_is_a_conflict(desk: Desk, ledger: MemoryLedger) -> None:
    """Whoever was quicker; and the ledger has what was tried."""
    review_id = await desk.held(quorum=2)
    await desk.approve(review_id, RITA)
    assert await refused(desk.attempt(review_id, RUBEN, Kind.APPROVE, version=1)) == "review_changed"
    assert refusals(ledger) == [("approve", "review_changed")]


async def test_looking_changes_nothing(desk: Desk, clock: HandClock, ledger: MemoryLedger) -> None:
    """Not even what time has made due."""
    review_id = await desk.held(expires="1m")
    clock.forward(60)
    before = await desk.store.get(review_id)
    await desk.service.get(review_id)
    await desk.service.list(None, None, 10)
    assert (await desk.store.get(review_id), told(ledger.entries)) == (before, ["held"])


async def test_refused_attempts_are_in_the_ledger(desk: Desk, clock: HandClock, ledger: MemoryLedger) -> None:
    """Own requests, other roles, other contents, late ones."""
    review_id = await desk.held(expires="1m")
    await refused(desk.approve(review_id, ANNA))
    await refused(desk.approve(review_id, replace(RUBEN, roles=())))
    await refused(desk.attempt(review_id, RITA, Kind.APPROVE, digest="0" * 64))
    clock.forward(60)
    await refused(desk.approve(review_id, RITA))
    codes = [reason for _, reason in refusals(ledger)]
    assert codes == ["self_approval", "reviewer_role_missing", "content_changed", "review_expired"]


async def test_nobody_approves_what_they_asked_for_in_anothers_name(desk: Desk) -> None:
    """The service that asked for somebody, the agent of who asked, and who acts for either."""
    act = {"act": {"sub": "rita"}}
    review_id = await desk.held(asker=replace(ANNA, claims=act))
    assert await refused(desk.approve(review_id, RITA)) == "self_approval"
    other = await desk.held(2)
    for_anna = replace(RUBEN, claims={"act": {"sub": ANNA.id}})
    assert await refused(desk.approve(other, for_anna)) == "self_approval"
    assert (await desk.approve(other, RUBEN))["state"] == "done"


async def test_a_policy_may_be_stricter(desk: Desk, ledger: MemoryLedger) -> None:
    """And what it says is the reason on record."""
    review_id = await desk.held()
    within = replace(RITA, tenant="somewhere else")
    assert await refused(desk.approve(review_id, within)) == "review_denied"
    assert refusals(ledger) == [("approve", "review_denied")]


@pytest.mark.parametrize("failing", ["review", "decision"])
async def test_without_an_answer_of_policy_nothing_is_approved(desk: Desk, bank: Bank, failing: str) -> None:
    """Undefined, broken, late: the request waits."""
    review_id = await desk.held()
    before = desk.policy.evaluate

    async def broken(entry: str, intent: Any, document: Any) -> Verdict:
        if entry == failing:
            raise RuntimeError("away")
        return await before(entry, intent, document)

    desk.policy.evaluate = broken  # type: ignore[method-assign]  # an engine that breaks
    assert await refused(desk.approve(review_id)) == "review_unjudged"
    desk.policy.evaluate = before  # type: ignore[method-assign]
    assert (await desk.approve(review_id))["state"] == "done"


STRICTER = Verdict(
    Effect.REVIEW, (Reason("risk.critical"),), (Obligation("require_review", {"reviewers": ["manager"], "quorum": 2}),), digest="aa" * 32
)


async def test_what_would_be_judged_otherwise_now_is_judged_again(desk: Desk, bank: Bank, ledger: MemoryLedger) -> None:
    """Before an approval: it waits anew under the terms of now, and the old digest is worth nothing."""
    review_id = await desk.held()
    seen = await desk.service.get(review_id) or {}
    desk.policy.changed = STRICTER
    assert await refused(desk.service.approve(review_id, RITA, "", seen["content_digest"])) == "review_superseded"
    shown = await desk.service.get(review_id) or {}
    assert (shown["state"], shown["quorum"], shown["reasons"], shown["round"]) == ("pending", 2, ["risk.critical"], 1)
    assert await refused(desk.service.approve(review_id, RITA, "", seen["content_digest"])) == "content_changed"
    await desk.approve(review_id, RITA)
    assert (await desk.approve(review_id, RUBEN))["state"] == "done"
    assert sorted(told(ledger.entries)[:3]) == ["held", "refused", "superseded"]


async def test_an_approval_does_not_outlive_the_policies_that_it_was_given_under(desk: Desk, bank: Bank, ledger: MemoryLedger) -> None:
    """Approved, and before it is sent the policies change: nothing is sent by that approval."""
    review_id = await desk.held()
    seen = await desk.service.get(review_id) or {}
    assert await desk.service._attempting.attempt(review_id, RITA, Asked(Kind.APPROVE, digest=seen["content_digest"]))
    desk.policy.changed = STRICTER
    await desk.service.round()
    await desk.settled()
    shown = await desk.service.get(review_id) or {}
    assert (shown["state"], shown["approvals"], bank.got) == ("pending", 0, [])
    assert told(ledger.entries) == ["held", "approved", "superseded"]


async def test_what_would_be_denied_now_ends(desk: Desk, bank: Bank, ledger: MemoryLedger) -> None:
    """With the decision's outcome."""
    review_id = await desk.held()
    desk.policy.changed = Verdict(Effect.DENY, (Reason("risk.critical"),), digest="aa" * 32)
    assert await refused(desk.approve(review_id)) == "review_superseded"
    assert (await desk.service.get(review_id) or {})["state"] == "superseded"
    assert "denied review_superseded" in told(ledger.entries)
    assert bank.got == []


async def test_other_policies_that_say_the_same_change_nothing(desk: Desk) -> None:
    """A release of the policies does not throw away who has looked."""
    review_id = await desk.held(quorum=2)
    await desk.approve(review_id, RITA)
    known = desk.policy.verdicts["r-1"]
    desk.policy.changed = replace(known, digest="bb" * 32)
    assert (await desk.approve(review_id, RUBEN))["state"] == "done"


async def test_two_who_try_different_things_at_once(desk: Desk, bank: Bank) -> None:
    """One of them happens; the other hears that it is too late."""
    for number in range(1, 6):
        review_id = await desk.held(number)
        seen = await desk.service.get(review_id) or {}
        tried = await asyncio.gather(
            desk.attempt(review_id, RITA, Kind.APPROVE, digest=seen["content_digest"], version=1),
            desk.attempt(review_id, RUBEN, Kind.REJECT, version=1),
            return_exceptions=True,
        )
        failed = [each for each in tried if isinstance(each, LockgateError)]
        assert [each.code for each in failed] in (["review_changed"], ["review_not_pending"])


async def test_what_was_changed_is_sealed_with_who_changed_it(desk: Desk, ledger: MemoryLedger) -> None:
    """An auditor who may see it finds what the reviewer put there."""
    review_id = await desk.held(outbound=PAYMENT, modify=["/amount"])
    await desk.attempt(review_id, RITA, Kind.MODIFY, "typo", changes={"/amount": 12})
    entry = next(each for each in ledger.entries if orjson.loads(each.leaf).get("event") == "modified")
    opened = await desk.people.opened(entry)
    assert (json.loads(opened["changes"]), opened["comment"], opened["reviewer"]) == ({"/amount": 12}, "typo", RITA.id)
    assert not re.search(rb"(?<![\w-])4711(?![\w-])", entry.leaf)  # digests and ids have any digits by chance
