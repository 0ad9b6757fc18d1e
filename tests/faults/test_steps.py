"""A request for several things where one of them cannot be decided, or understood, or sent: nothing is done that is not on record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from adapters.local_repeats import LocalRepeats
from adapters.memory_destination import Answer
from router.decision import Classification, Status
from router.delivery.judging import Terms
from router.doors.runtime import KeptAnswers, StepOptions
from router.errors import AuditError, DestinationError, ReviewError
from router.ports import Entry
from router.review.sending import MOST_BYTES
from router.system import SystemClock
from tests.faults.gateway_harness import ALLOW, REVIEW, SURE, House

BOTH = b'{"message": "please cancel payment 4711 and then tell me the status of 4712"}'


class Clauses:
    """A tier that knows two intents by their words; `unclear` are words in which it sees neither any more, once it has read the whole."""

    name = "encoder"

    def __init__(self, unclear: str = "") -> None:
        self.unclear, self.read = unclear, 0

    async def classify(self, text: str) -> Classification:
        self.read += 1
        if self.unclear and self.read > 3 and self.unclear in text:
            return Classification(Status.CLASSIFIED, "status", 0.3, 0.9, 0.9, tier="encoder")
        intent = "status" if "status" in text and "cancel" not in text else "cancel"
        return replace(SURE, intent=intent)


def house(tier: Clauses | None = None, **more: Any) -> House:
    made = House(tier or Clauses())
    made.runtime = replace(made.runtime, options=replace(made.runtime.options, steps=StepOptions()), **more)
    return made


def ends(made: House) -> dict[str, tuple[str, str]]:
    """By decision."""
    leaves = [leaf for leaf in made.leaves if leaf["schema"] == "lockgate.outcome.v1"]
    assert len({leaf["id"] for leaf in leaves}) == len(leaves)
    return {leaf["id"]: (leaf["outcome"]["result"], leaf["outcome"]["reason"]) for leaf in leaves}


async def test_each_of_several_things_is_decided_and_sent() -> None:
    """And the whole has an outcome of its own, which is how the tests below know that they would see what goes on."""
    made = house()
    reply = await made.ask(BOTH)
    assert (reply.status, len(made.reached)) == (207, 2)
    assert sorted(ends(made).values()) == [("routed", ""), ("routed", ""), ("split", "several_intents")]


async def test_a_step_that_cannot_be_recorded_stops_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is sent; the one that was on record already is ended there as abandoned."""
    made = house()
    append, decisions = made.ledger.append, [0]

    async def full_at_the_third(entry: Entry) -> int:
        decisions[0] += b"lockgate.decision.v1" in entry.leaf
        if decisions[0] == 3 and b"lockgate.decision.v1" in entry.leaf:
            raise AuditError("The disk is full.", "audit_disk_full")
        return await append(entry)

    monkeypatch.setattr(made.ledger, "append", full_at_the_third)
    reply = await made.ask(BOTH)
    assert (reply.status, reply.code, made.reached) == (503, "audit_disk_full", [])
    assert sorted(ends(made).values()) == [("failed", "audit_disk_full"), ("failed", "step_abandoned")]


async def test_where_one_step_is_not_understood_none_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its decision abstains by itself; the other is ended as unclear, and so is the whole."""
    made = house(Clauses("status"))
    monkeypatch.setattr(made.runtime.pipeline.stages.cascade, "_remember", lambda *_: None)
    reply = await made.ask(BOTH)
    assert (reply.status, reply.code, made.reached) == (422, "several_intents", [])
    assert sorted(ends(made).values()) == [("abstained", "step_unclear"), ("abstained", "step_unclear")]


async def test_a_step_on_a_route_that_is_delivered_is_refused() -> None:
    """Its caller waits for an answer that a delivery does not give."""
    made = house(deliveries={"pay": Terms()})
    reply = await made.ask(BOTH)
    assert {each["reason"] for each in reply.problem["steps"]} == {"delivery_unsupported"}
    assert ends(made)[reply.problem["steps"][0]["decision_id"]] == ("failed", "delivery_unsupported")
    assert made.reached == []


DENY = {"effect": "deny", "reasons": [{"code": "access.gone", "message": "no"}]}
KEYED = [(b"idempotency-key", b"k")]
KEEPING = {"pay": KeptAnswers(required=False, seconds=60, most=1000)}


def keyed(*, first_success: bool = False, **settings: Any) -> House:
    """Its one route keeps answers."""
    made = house(repeats=LocalRepeats(SystemClock()))
    keeping = {"pay": replace(KEEPING["pay"], **settings)}
    made.runtime = replace(
        made.runtime, options=replace(made.runtime.options, keeping=keeping, steps=StepOptions(first_success=first_success))
    )
    return made


def told(reply: Any) -> list[tuple[str, int, str]]:
    return [(each["outcome"], each["status"], each["reason"]) for each in reply.problem["steps"]]


async def test_each_step_has_a_key_of_its_own() -> None:
    """Whoever acts once on a key does not take one step for another: as a header field, and where there are none."""
    made = house()
    assert (await made.ask(BOTH, headers=KEYED)).status == 207
    assert {each.idempotency_key for each in made.reached} == {"k-1", "k-2"}
    assert {dict(each.headers)[b"idempotency-key"] for each in made.reached} == {b"k-1", b"k-2"}


async def test_a_step_is_taken_once_where_its_route_remembers_keys() -> None:
    """Who repeats the request is told what each step was answered, and that it was before."""
    made = keyed()
    first, again = await made.ask(BOTH, headers=KEYED), await made.ask(BOTH, headers=KEYED)
    assert (first.status, again.status, len(made.reached)) == (207, 207, 2)
    assert told(again) == [("routed", 200, "idempotency_replayed")] * 2
    assert [each["body"] for each in again.problem["steps"]] == [each["body"] for each in first.problem["steps"]] == ["done"] * 2
    assert sorted(ends(made).values()) == sorted(
        [("routed", "")] * 2 + [("routed", "idempotency_replayed")] * 2 + [("split", "several_intents")] * 2
    )


async def test_a_step_that_may_have_had_its_effect_is_not_taken_again() -> None:
    """One that certainly had none is."""
    made, good = keyed(), House().answer
    made.answer = DestinationError("it broke off", "upstream_reset", 502, sent=True)
    assert told(await made.ask(BOTH, headers=KEYED)) == [("failed", 502, "upstream_reset")] * 2
    made.answer = good
    assert told(await made.ask(BOTH, headers=KEYED)) == [("denied", 409, "idempotency_unanswered")] * 2
    assert len(made.reached) == 2

    made = keyed()
    made.answer = DestinationError("nobody is there", "connect_failed", 502)
    assert told(await made.ask(BOTH, headers=KEYED)) == [("failed", 502, "connect_failed")] * 2
    made.answer = good
    assert told(await made.ask(BOTH, headers=KEYED)) == [("routed", 200, "")] * 2


async def test_a_step_without_the_key_that_its_route_wants_is_refused() -> None:
    """As a request by itself."""
    made = keyed(required=True)
    assert told(await made.ask(BOTH)) == [("denied", 400, "idempotency_key_missing")] * 2
    assert made.reached == []


async def test_a_step_is_held_once_where_its_route_remembers_keys() -> None:
    """Reviewers see one request of each."""
    made = House(Clauses(), policy={"admission": ALLOW, "decision": REVIEW})
    options = replace(made.runtime.options, steps=StepOptions(), keeping=KEEPING)
    made.runtime = replace(made.runtime, options=options, repeats=LocalRepeats(SystemClock()))
    first, again = await made.ask(BOTH, headers=KEYED), await made.ask(BOTH, headers=KEYED)
    assert [(outcome, status) for outcome, status, _ in told(first)] == [("held", 202)] * 2
    assert told(again) == [("held", 202, "idempotency_replayed")] * 2
    assert len(made.holds.held) == 2


async def test_of_alternatives_none_is_taken_after_another_was() -> None:
    """The first had no effect then and would succeed now; whoever repeats the request is told what the second was answered."""
    made = keyed(first_success=True)
    good = made.answer
    made.answer = DestinationError("nobody is there", "connect_failed", 502)
    handle = made._handle

    async def failing_once(outbound: Any) -> Any:
        try:
            return await handle(outbound)
        finally:
            made.answer = good

    made.destination._handler = failing_once
    assert told(await made.ask(BOTH, headers=KEYED)) == [("failed", 502, "connect_failed"), ("routed", 200, "")]
    assert told(await made.ask(BOTH, headers=KEYED)) == [("routed", 502, "idempotency_replayed"), ("routed", 200, "idempotency_replayed")]
    assert len(made.reached) == 2


@pytest.mark.parametrize("keys", [None, KEYED])
@pytest.mark.parametrize("code", ["upstream_timeout", "upstream_idle", "upstream_reset", "upstream_protocol"])
async def test_of_alternatives_none_is_taken_after_one_that_may_have_been_done(code: str, keys: Any) -> None:
    """It was sent, and nobody said what became of it: with the next one both might be done. So it is when the request comes again."""
    made = keyed(first_success=True)
    good, made.answer = made.answer, DestinationError("no answer came", code, 504, sent=True)
    assert told(await made.ask(BOTH, headers=keys or [])) == [("failed", 504, code), ("denied", 409, "step_uncertain")]
    assert len(made.reached) == 1
    assert sorted(ends(made).values()) == [("denied", "step_uncertain"), ("failed", code), ("split", "several_intents")]
    if keys:
        made.answer = good
        assert told(await made.ask(BOTH, headers=keys)) == [("denied", 409, "idempotency_unanswered")] * 2


async def broken_off() -> AsyncIterator[bytes]:
    yield b"pay"
    raise DestinationError("it broke off", "upstream_reset", sent=True)


async def too_long() -> AsyncIterator[bytes]:
    yield b"x" * (MOST_BYTES + 1)


@pytest.mark.parametrize(("body", "reason"), [(broken_off, "upstream_reset"), (too_long, "response_too_long")])
async def test_nor_after_one_whose_answer_begins_well_and_is_not_whole(body: Any, reason: str) -> None:
    """The service has acted once it answers. Where it begins with no, nothing was done."""
    made = keyed(first_success=True)
    made.answer = Answer(200, [], body())
    assert told(await made.ask(BOTH)) == [("failed", 200, reason), ("denied", 409, "step_uncertain")]
    assert len(made.reached) == 1
    made = keyed(first_success=True)
    made.answer = Answer(503, [], body())
    await made.ask(BOTH)
    assert len(made.reached) == 2


async def test_nor_after_one_of_which_the_code_does_not_tell() -> None:
    """A gRPC service's UNAVAILABLE is also what its library says of a connection that breaks off; a tool's answer that does not fit its
    schema is one of a tool that ran."""
    made = keyed(first_success=True)
    made.answer = DestinationError("broken off, or not", "upstream_unavailable", 503, sent=True)
    made.answer.untold = True
    assert told(await made.ask(BOTH)) == [("failed", 503, "upstream_unavailable"), ("denied", 409, "step_uncertain")]


@pytest.mark.parametrize(("code", "sent"), [("upstream_timeout", False), ("upstream_unavailable", True), ("upstream_refused", True)])
async def test_an_alternative_is_tried_where_it_is_known_that_the_one_before_failed(code: str, sent: bool) -> None:
    """It never left, or the service itself says that it did not do it."""
    made = keyed(first_success=True)
    made.answer = DestinationError("not done", code, 503, sent=sent)
    assert told(await made.ask(BOTH)) == [("failed", 503, code)] * 2


async def test_alternatives_that_all_had_no_effect_are_tried_again() -> None:
    """Nothing was done under their keys."""
    made = keyed(first_success=True)
    good, made.answer = made.answer, DestinationError("nobody is there", "connect_failed", 502)
    assert told(await made.ask(BOTH, headers=KEYED)) == [("failed", 502, "connect_failed")] * 2
    made.answer = good
    assert told(await made.ask(BOTH, headers=KEYED)) == [("routed", 200, ""), ("denied", 409, "step_not_needed")]


async def test_of_alternatives_none_is_taken_beside_one_that_is_under_way() -> None:
    """Whether it succeeds is not known yet; so the rest is refused for the same reason."""
    made = keyed(first_success=True)
    begun, let = asyncio.Event(), asyncio.Event()
    handle = made._handle

    async def slow(outbound: Any) -> Any:
        begun.set()
        await let.wait()
        return await handle(outbound)

    made.destination._handler = slow
    first = asyncio.create_task(made.ask(BOTH, headers=KEYED))
    await begun.wait()
    assert told(await made.ask(BOTH, headers=KEYED)) == [("denied", 409, "idempotency_under_way")] * 2
    let.set()
    assert told(await first) == [("routed", 200, ""), ("denied", 409, "step_not_needed")]
    assert len(made.reached) == 1


async def test_of_alternatives_none_is_taken_after_one_that_policy_denies() -> None:
    """Which says nothing of the one before it, that succeeded."""
    made = House(Clauses(), policy={"admission": ALLOW, "decision": ALLOW, "intents.cancel": DENY})
    made.runtime = replace(made.runtime, options=replace(made.runtime.options, steps=StepOptions(first_success=True)))
    reply = await made.ask(b'{"message": "tell me the status of 4712 and then cancel payment 4711 and then tell me the status of 4713"}')
    assert told(reply) == [("routed", 200, ""), ("denied", 403, "access.gone"), ("denied", 409, "step_not_needed")]
    assert len(made.reached) == 1


LATER = {
    "access.gone": DENY,
    "idempotency_replayed": REVIEW,  # and so it is not told as routed
    "response_too_large": {**ALLOW, "obligations": [{"name": "limit_response", "params": {"bytes": 2}}]},
}


@pytest.mark.parametrize("now", LATER)
async def test_of_alternatives_none_is_taken_after_one_that_succeeded_under_another_policy(now: str) -> None:
    """The first is not told anew as it was then; that it was taken is no less true."""
    made = keyed(first_success=True)
    assert told(await made.ask(BOTH, headers=KEYED)) == [("routed", 200, ""), ("denied", 409, "step_not_needed")]
    policy = {"admission": ALLOW, "decision": ALLOW, "intents.cancel": LATER[now]}
    made.runtime.pipeline.stages = House(Clauses(), policy=policy).runtime.pipeline.stages
    again = told(await made.ask(BOTH, headers=KEYED))
    assert (again[1], len(made.reached)) == (("denied", 409, "step_not_needed"), 1)
    assert (again[0][0] != "routed", again[0][2]) == (True, now)


async def test_a_step_that_policy_refuses_keeps_no_key() -> None:
    """It was looked up only; once policy lets it pass it is taken."""
    made = keyed(first_success=True)
    before = made.runtime.pipeline.stages
    made.runtime.pipeline.stages = House(
        Clauses(), policy={"admission": ALLOW, "decision": ALLOW, "intents.cancel": DENY, "intents.status": DENY}
    ).runtime.pipeline.stages
    assert told(await made.ask(BOTH, headers=KEYED)) == [("denied", 403, "access.gone")] * 2
    made.runtime.pipeline.stages = before
    assert told(await made.ask(BOTH, headers=KEYED)) == [("routed", 200, ""), ("denied", 409, "step_not_needed")]


async def test_a_steps_key_may_be_longer_than_its_callers() -> None:
    """By its number: a caller whose key fits is not told of any step that it does not."""
    made = keyed()
    assert told(await made.ask(BOTH, headers=[(b"idempotency-key", b"k" * 255)])) == [("routed", 200, "")] * 2


def reviewed(*, keeping: bool) -> House:
    """A person is to decide about the first of two alternatives."""
    made = House(Clauses(), policy={"admission": ALLOW, "decision": ALLOW, "intents.cancel": REVIEW})
    options = replace(made.runtime.options, steps=StepOptions(first_success=True), keeping=KEEPING if keeping else {})
    made.runtime = replace(made.runtime, options=options, repeats=LocalRepeats(SystemClock()))
    return made


async def test_of_alternatives_none_is_taken_beside_one_that_a_person_may_still_approve() -> None:
    """Both would be done."""
    made = reviewed(keeping=False)
    assert told(await made.ask(BOTH)) == [("held", 202, "test.review"), ("denied", 409, "step_not_needed")]
    assert (made.reached, len(made.holds.held)) == ([], 1)


@pytest.mark.parametrize("now", [DENY, ALLOW, REVIEW], ids=["denied", "allowed", "held"])
async def test_nor_is_one_taken_when_its_request_comes_again(now: Any) -> None:
    """Whatever policy says by now of the one that waits."""
    made = reviewed(keeping=True)
    await made.ask(BOTH, headers=KEYED)
    policy = {"admission": ALLOW, "decision": ALLOW, "intents.cancel": now}
    made.runtime.pipeline.stages = House(Clauses(), policy=policy).runtime.pipeline.stages
    assert told(await made.ask(BOTH, headers=KEYED))[1] == ("denied", 409, "step_not_needed")
    assert (made.reached, len(made.holds.held)) == ([], 1)


async def test_of_alternatives_one_that_cannot_be_held_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody will ever decide about it."""
    made = reviewed(keeping=False)

    async def away(*_: Any) -> None:
        raise ReviewError("The store is away.")

    monkeypatch.setattr(made.runtime.holder, "hold", away)
    assert told(await made.ask(BOTH)) == [("denied", 503, "review_store_unavailable"), ("routed", 200, "")]


async def test_nor_is_one_taken_where_nobody_knows_whether_it_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control process ended while it was asked: a person may find the request after the next start, and approve it."""
    made = reviewed(keeping=False)

    async def gone(*_: Any) -> None:
        failed = ReviewError("The control process is gone.")
        failed.unsettled = True
        raise failed

    monkeypatch.setattr(made.runtime.holder, "hold", gone)
    assert told(await made.ask(BOTH)) == [("failed", 503, "review_store_unavailable"), ("denied", 409, "step_uncertain")]
    assert made.reached == []
