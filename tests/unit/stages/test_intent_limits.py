"""Limits of what requests mean: what they are drawn on for, and what becomes of who is over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from adapters.local_limits import LocalLimits
from router.caller import ByIntent
from router.decision import Classification, Effect, Reason, Request, Route, Status, Subject, Verdict
from router.errors import StateError
from router.limiting import Limit, Limiting
from router.ports import Draw
from router.stages.intent_limits import IntentLimitRule, IntentLimits
from tests.unit.identity.parts import HandClock

ALICE = Subject("alice", "user", tenant="halden", authenticated_by="jwt")
BOB = replace(ALICE, id="bob")
CAROL = replace(ALICE, id="carol", tenant="other")
ALLOWED = Verdict(Effect.ALLOW, (Reason("access.granted"),), revision="7")
ROUTE = Route("plain", "desk", "intent")


def request(subject: Subject = ALICE) -> Request:
    return Request("r", 1, "gateway", subject, "POST", "", "/ask", client="1.1.1.1")


def meant(intent: str | None) -> Classification:
    return Classification(Status.CLASSIFIED if intent else Status.OUT_OF_SCOPE, intent=intent)


def limits(by: ByIntent, *intents: str) -> IntentLimits:
    limit = Limit("often", 0.1, 1, LocalLimits(0.1, 1, HandClock(0)))
    return IntentLimits([IntentLimitRule(by, limit, frozenset(intents))], Limiting())


async def through(made: IntentLimits, subject: Subject, intent: str | None) -> bool:
    return (await made.within(request(subject), meant(intent), ROUTE, ALLOWED)).effect is Effect.ALLOW


@pytest.mark.parametrize(
    ("by", "second", "intent", "shared"),
    [
        ("intent", CAROL, "pay", True),
        ("intent", ALICE, "look", False),
        ("subject_intent", ALICE, "pay", True),
        ("subject_intent", BOB, "pay", False),
        ("tenant_intent", BOB, "pay", True),
        ("tenant_intent", CAROL, "pay", False),
        ("tenant_intent", ALICE, "look", False),
    ],
)
async def test_what_is_counted_together(by: ByIntent, second: Subject, intent: str, shared: bool) -> None:
    """After one of Alice's payments, whose next request for what is refused."""
    made = limits(by)
    assert await through(made, ALICE, "pay")
    assert await through(made, second, intent) is not shared


async def test_only_the_named_intents_are_limited() -> None:
    """Others pass as often as they like."""
    made = limits("intent", "pay")
    assert [await through(made, ALICE, "look") for _ in range(3)] == [True] * 3
    assert [await through(made, ALICE, "pay") for _ in range(2)] == [True, False]


async def test_a_refusal_says_why_and_for_how_long() -> None:
    """It is a denial with a status of its own, before policy's reasons, under policy's revision."""
    made = limits("intent")
    await through(made, ALICE, "pay")
    verdict = await made.within(request(), meant("pay"), ROUTE, ALLOWED)
    assert (verdict.effect, verdict.status, verdict.fields) == (Effect.DENY, 429, (("retry-after", "10"),))
    assert [reason.code for reason in verdict.reasons] == ["intent_rate_limited", "access.granted"]
    assert "often" in verdict.reasons[0].message
    assert verdict.revision == "7"


async def test_what_goes_nowhere_draws_on_nothing() -> None:
    """A denied request, one without a route, one without an intent: the next that goes somewhere still passes."""
    made = limits("intent")
    denied = replace(ALLOWED, effect=Effect.DENY)
    assert await made.within(request(), meant("pay"), ROUTE, denied) is denied
    assert await made.within(request(), meant("pay"), None, ALLOWED) is ALLOWED
    assert await made.within(request(), meant(None), ROUTE, ALLOWED) is ALLOWED
    assert await through(made, ALICE, "pay")


async def test_a_request_that_would_be_held_is_limited_too() -> None:
    """Reviewers are the dearest of all."""
    made, held = limits("intent"), replace(ALLOWED, effect=Effect.REVIEW)
    assert await made.within(request(), meant("pay"), ROUTE, held) is held
    assert (await made.within(request(), meant("pay"), ROUTE, held)).effect is Effect.DENY


async def test_without_an_answer_it_is_as_configured() -> None:
    """Denied by name, or this worker's own limit."""

    class Away:
        async def draw(self, wanted: Sequence[Draw]) -> tuple[int, float] | None:
            raise StateError("gone")

    limit = Limit("often", 0.1, 1, LocalLimits(0.1, 1, HandClock(0)))
    rules = [IntentLimitRule("intent", limit)]
    verdict = await IntentLimits(rules, Limiting(Away(), deny=True)).within(request(), meant("pay"), ROUTE, ALLOWED)
    assert (verdict.effect, verdict.status, verdict.reasons[0].code) == (Effect.DENY, 503, "limits_unavailable")
    made = IntentLimits(rules, Limiting(Away()))
    assert [await through(made, ALICE, "pay") for _ in range(2)] == [True, False]
