"""Each stage broken in each way: what the caller hears, what the trail says, and that nothing goes on that may not."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from adapters.memory_policy import MemoryPolicy
from router.decision import Classification, Effect, Status, Verdict
from router.errors import AuditError, ClassifierError, DestinationError, PolicyError, ReviewError
from router.stages.routing import RouteEntry
from tests.faults.gateway_harness import ALLOW, REVIEW, SURE, House, ScriptedTier


async def never() -> Classification:
    await asyncio.sleep(60)
    return SURE


def policy(decision: Any = ALLOW, admission: Any = ALLOW) -> MemoryPolicy:
    return MemoryPolicy({"admission": admission, "decision": decision})


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ClassifierError("the model is gone", "classifier_unavailable"), "classifier_unavailable"),
        (RuntimeError("boom"), "classifier_failed"),
        (never, "classifier_late"),
        ("nonsense", "classifier_malformed"),
        (replace(SURE, intent="of_nobody"), "intent_unknown"),
        (replace(SURE, confidence=None), "confidence_too_low"),
        (replace(SURE, confidence=float("nan")), "confidence_too_low"),
        (replace(SURE, margin=None), "margin_too_small"),
        (replace(SURE, margin=float("nan")), "margin_too_small"),
        (replace(SURE, scope=None), "out_of_scope"),
        (replace(SURE, scope=float("nan")), "out_of_scope"),
    ],
)
async def test_a_classifier_that_fails_abstains(answer: object, reason: str) -> None:
    """Error, time-out, nonsense or a missing number: nobody's intent is guessed, the caller is asked back, and the trail has the reason."""
    house = House(tier=ScriptedTier(answer), deadline_s=0.05)
    reply = await house.ask()
    assert (reply.status, house.reached) == (422, [])
    (leaf,) = house.leaves
    assert leaf["classification"]["intent"] is None
    assert leaf["outcome"]["result"] == "abstained"
    assert leaf["classification"]["reason"] == reason


async def test_abstention_goes_where_the_route_says() -> None:
    """With `on_abstain: route` the request goes to that route, as a decision that says so."""
    house = House(tier=ScriptedTier(RuntimeError("boom")), on_abstain="desk")
    assert (await house.ask()).status == 200
    assert house.leaves[0]["route"] == {**house.leaves[0]["route"], "name": "desk", "why": "abstain"}


async def test_abstention_can_be_a_deny() -> None:
    """With `on_abstain: deny` the caller hears 403 and no candidates."""
    reply = await House(tier=ScriptedTier(replace(SURE, scope=0.1)), on_abstain="deny").ask()
    assert reply.status == 403


@pytest.mark.parametrize("entry", ["admission", "decision"])
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (None, "policy_undefined"),
        (PolicyError("late", "policy_late"), "policy_late"),
        (RuntimeError("boom"), "policy_error"),
        ({"effect": "maybe"}, "policy_malformed"),
        ("yes", "policy_malformed"),
        ([], "policy_malformed"),
        (True, "policy_malformed"),
        ({"effect": "allow", "reasons": [{"code": "Not A Slug"}]}, "policy_malformed"),
    ],
)
async def test_policy_that_gives_no_verdict_denies(entry: str, answer: object, code: str) -> None:
    """Undefined, late, broken or malformed answers of either entry point are a deny with their own reason."""
    house = House(policy=policy(**{entry: answer}))
    reply = await house.ask()
    assert (reply.status, reply.code, house.reached) == (403, code, [])
    assert house.leaves[0]["outcome"] == {**house.leaves[0]["outcome"], "result": "denied", "reason": code}


async def test_what_is_not_admitted_is_not_classified() -> None:
    """Its record says so, and claims no intent."""
    house = House(tier=ScriptedTier(RuntimeError("nobody asks")), policy=policy(admission={"effect": "deny", "reasons": [{"code": "a.b"}]}))
    reply = await house.ask()
    told = house.leaves[0]["classification"]
    assert (reply.status, reply.code, told["status"], told["intent"], told["reason"]) == (403, "a.b", "undetermined", None, "not_admitted")
    assert house.reached == []


async def test_an_unknown_obligation_denies() -> None:
    """What policy asks for and nobody can do is not skipped."""
    verdict = ALLOW | {"obligations": [{"name": "sing", "params": {}}]}
    house = House(policy=policy(verdict))
    reply = await house.ask()
    assert (reply.status, house.reached) == (403, [])
    assert reply.code == "obligation_unknown"


async def test_an_obligation_that_cannot_be_met_denies_and_is_recorded() -> None:
    """A header that policy may not set ends the request before anything is sent, with an outcome."""
    verdict = ALLOW | {"obligations": [{"name": "add_headers", "params": {"headers": {"host": "elsewhere"}}}]}
    house = House(policy=policy(verdict))
    reply = await house.ask()
    assert (reply.status, reply.code, house.reached) == (403, "obligation_failed", [])
    assert house.leaves[-1]["outcome"]["result"] == "denied"


async def test_a_reroute_to_nowhere_denies() -> None:
    """Policy that names a route the catalog lacks does not fall back to another."""
    house = House(policy=policy({"effect": "reroute", "reasons": [{"code": "test.elsewhere"}], "route": "nowhere"}))
    reply = await house.ask()
    assert (reply.status, house.reached) == (403, [])
    assert "route_unknown" in house.leaves[0]["verdict"]["reasons"]


class Offered:
    """See `pipeline.Comparing`."""

    def __init__(self, house: House) -> None:
        self.seen: list[tuple[str, str, str | None, Any, Verdict]] = []
        house.runtime.pipeline.stages = replace(house.runtime.pipeline.stages, comparison=self)

    def offer(self, *sample: Any) -> None:
        self.seen.append(sample)


async def test_a_second_engine_is_asked_for_what_policy_said_and_not_for_what_became_of_it() -> None:
    """A reroute to nowhere is a deny of ours, in which no two engines can differ. Both evaluations of a decision bear its id."""
    house = House(policy=policy({"effect": "reroute", "reasons": [{"code": "test.elsewhere"}], "route": "nowhere"}))
    offered = Offered(house)
    await house.ask()
    assert [(each[0], each[1], each[2], each[3]["entry"], each[4].effect) for each in offered.seen] == [
        (house.leaves[0]["id"], "admission", None, "admission", Effect.ALLOW),
        (house.leaves[0]["id"], "decision", ("cancel",), "decision", Effect.REROUTE),
    ]


async def test_a_second_engine_is_asked_about_recorded_decisions_only() -> None:
    """What is not in the trail has no id that anybody could look up; a refusal at admission is one evaluation."""
    house = House(policy=policy(admission={"effect": "deny"}))
    offered = Offered(house)
    await house.ask()
    assert [each[1] for each in offered.seen] == ["admission"]
    house.ledger.failing = AuditError("the disk is gone", "audit_disk_full")
    await house.ask()
    assert len(offered.seen) == 1


async def test_a_reroute_is_followed() -> None:
    """Policy may send a request elsewhere; the record says that it did."""
    house = House(policy=policy({"effect": "reroute", "reasons": [{"code": "test.elsewhere"}], "route": "desk"}))
    assert (await house.ask()).status == 200
    assert (house.leaves[0]["route"]["name"], house.leaves[0]["route"]["why"]) == ("desk", "reroute")


@pytest.mark.parametrize("code", ["audit_unavailable", "audit_overloaded", "audit_disk_full"])
async def test_without_a_record_nothing_is_dispatched(code: str) -> None:
    """The ledger fails: 503, nothing reaches the upstream, and the refusal is counted."""
    house = House()
    house.ledger.failing = AuditError("the disk is gone", code)
    reply = await house.ask()
    assert (reply.status, reply.code, house.reached) == (503, code, [])
    assert house.seen.refusals == [(code, 503)]


async def test_without_a_key_to_seal_with_nothing_is_dispatched() -> None:
    """The key store fails: as if the ledger did."""

    class NoKeys:
        async def key_for(self, subject: str) -> tuple[str, bytes]:
            raise AuditError("no keys", "audit_unavailable")

    house = House(keys=NoKeys())
    reply = await house.ask()
    assert (reply.status, house.reached, house.leaves) == (503, [], [])


async def test_a_ledger_that_fails_after_the_effect_leaves_the_decision() -> None:
    """The outcome cannot be recorded: the caller has its answer, and the trail shows a decision without an outcome."""
    house = House()
    handle = house.destination._handler  # the twin's own, wrapped

    async def then_break(outbound: Any) -> Any:
        answer = await handle(outbound)
        house.ledger.failing = AuditError("the disk is gone")
        return answer

    house.destination._handler = then_break
    reply = await house.ask()
    assert (reply.status, reply.body) == (200, b"done")
    assert [leaf["schema"] for leaf in house.leaves] == ["lockgate.decision.v1"]


async def test_a_review_store_that_fails_denies() -> None:
    """The request cannot be held: 503 and an outcome, never a dispatch and never a 202."""
    house = House(policy=policy(REVIEW))
    house.holds.failing = ReviewError("no room")
    reply = await house.ask()
    assert (reply.status, reply.code, house.reached) == (503, "review_store_unavailable", [])
    assert house.leaves[-1]["outcome"]["result"] == "denied"


async def test_a_held_request_is_not_dispatched() -> None:
    """Policy asks for a person: 202, durable, and nothing sent."""
    house = House(policy=policy(REVIEW))
    reply = await house.ask()
    assert (reply.status, house.reached, len(house.holds.held)) == (202, [], 1)
    assert house.leaves[0]["outcome"]["result"] == "held"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DestinationError("refused", "connect_failed", 502), 502),
        (DestinationError("late", "upstream_timeout", 504), 504),
        (DestinationError("open", "circuit_open", 503), 503),
    ],
)
async def test_a_destination_that_fails_has_an_outcome(error: DestinationError, status: int) -> None:
    """The caller hears the destination's status with the decision id, and the outcome names the reason."""
    house = House()
    house.answer = error
    reply = await house.ask()
    assert (reply.status, reply.code) == (status, error.code)
    assert reply.problem["decision_id"] == house.leaves[0]["id"]
    assert house.leaves[-1]["outcome"] == {**house.leaves[-1]["outcome"], "result": "failed", "reason": error.code}


async def test_an_upstream_that_vanishes_leaves_a_broken_body() -> None:
    """Half an answer stays half: it is never ended as if it were whole, and the outcome says so."""

    async def half() -> Any:
        yield b"half"
        raise DestinationError("gone", "upstream_reset")

    house = House()
    house.answer = replace(house.answer, body=half())
    reply = await house.ask()
    assert (reply.status, reply.body, reply.complete) == (200, b"half", False)
    assert house.leaves[-1]["outcome"]["reason"] == "upstream_reset"


@pytest.mark.parametrize("body", [b"\xff\xfe{", b"{", b'{"a": 1, "a": 2}', b'{"message": "\\ud800"}'])
async def test_a_body_that_cannot_be_read_is_undetermined(body: bytes) -> None:
    """It is not classified, not guessed, and policy is told; without a fallback the caller is asked back."""
    house = House()
    reply = await house.ask(body)
    assert (reply.status, house.reached) == (422, [])
    assert house.leaves[0]["classification"]["status"] == Status.UNDETERMINED.value


async def test_every_dispatch_has_exactly_one_outcome() -> None:
    """A routed request leaves one decision and one outcome, tied by the decision's id."""
    house = House(route=RouteEntry("pay", "payments", path="/elsewhere", method="PUT"))
    await house.ask()
    decision, outcome = house.leaves
    assert (decision["schema"], outcome["schema"]) == ("lockgate.decision.v1", "lockgate.outcome.v1")
    assert outcome["id"] == decision["id"]
    assert (house.reached[0].method, house.reached[0].target) == ("PUT", "/elsewhere")


async def test_a_worker_that_just_started_says_what_it_has_yet_to_learn() -> None:
    """Too little was seen to call a size or a rate usual: the record says so, the risk counts it, and the request goes on."""
    house = House()
    assert (await house.ask()).status == 200
    assert house.leaves[0]["signals"]["learning"] == ["unusual.size", "unusual.rate"]
    assert "learning" in [part["name"] for part in house.leaves[0]["risk"]["contributions"]]
    assert house.leaves[0]["signals"]["unknown"] == []
