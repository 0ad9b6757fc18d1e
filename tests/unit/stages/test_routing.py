"""Where a request goes: the rule's route, the intent's, the fallback's, or the one that policy sends it to."""

from __future__ import annotations

import pytest

from router.decision import Candidate, Classification, Effect, Reason, Route, RuleMatch, Status, Verdict
from router.stages.routing import IntentEntry, RouteEntry, RoutingTable

ROUTES = {
    "pay": RouteEntry("pay", "payments", "/v1/pay", "POST"),
    "help": RouteEntry("help", "desk"),
    "audit": RouteEntry("audit", "desk"),
}
INTENTS = {
    "cancel": IntentEntry("cancel", "pay"),
    "ask": IntentEntry("ask", "help", on_abstain="help"),
    "secret": IntentEntry("secret", "help", on_abstain="deny"),
}
TABLE = RoutingTable(ROUTES, INTENTS)


def abstained(status: Status, *candidates: str) -> Classification:
    return Classification(status, candidates=tuple(Candidate(name, 1.0, 0.4) for name in candidates))


def test_an_intent_goes_its_route() -> None:
    """A classified request goes where its intent says, rewritten as the route says."""
    assert TABLE.provisional(Classification(Status.CLASSIFIED, "cancel")) == Route("pay", "payments", "intent", "/v1/pay", "POST")


def test_a_rule_says_why() -> None:
    """An intent that a rule named goes the intent's route, because of the rule."""
    found = Classification(Status.CLASSIFIED, "cancel", rule=RuleMatch("r", "cancel"))
    assert TABLE.provisional(found) == Route("pay", "payments", "rule", "/v1/pay", "POST")


@pytest.mark.parametrize("intent", [None, "cancel"])
def test_a_rules_own_route_comes_first(intent: str | None) -> None:
    """A rule may name its route itself, with or without an intent."""
    status = Status.CLASSIFIED if intent else Status.SKIPPED
    found = Classification(status, intent, rule=RuleMatch("r", intent, "audit"))
    assert TABLE.provisional(found) == Route("audit", "desk", "rule")


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.CLASSIFIED])
def test_nothing_but_a_classified_intent_is_routed(status: Status) -> None:
    """An intent beside any other status is never acted on."""
    assert TABLE.provisional(Classification(status, "cancel")) is None


def test_abstention_may_have_a_route() -> None:
    """The most likely intent's fallback route takes what could not be decided."""
    assert TABLE.provisional(abstained(Status.AMBIGUOUS, "ask", "cancel")) == Route("help", "desk", "abstain")


@pytest.mark.parametrize(
    ("candidates", "default", "expected"),
    [
        (("ask",), "clarify", "help"),
        (("cancel", "ask"), "clarify", "clarify"),
        (("cancel",), "deny", "deny"),
        (("secret",), "clarify", "deny"),
        ((), "audit", "audit"),
        (("no-such-intent",), "clarify", "clarify"),
    ],
)
def test_who_says_what_abstention_means(candidates: tuple[str, ...], default: str, expected: str) -> None:
    """The most likely intent's own choice, else the listener's."""
    assert RoutingTable(ROUTES, INTENTS, default).abstention(abstained(Status.AMBIGUOUS, *candidates)) == expected


@pytest.mark.parametrize("effect", [Effect.ALLOW, Effect.DENY, Effect.REVIEW])
def test_other_verdicts_leave_the_route(effect: Effect) -> None:
    """Only a reroute changes where a request would go."""
    route, verdict = TABLE.provisional(Classification(Status.CLASSIFIED, "cancel")), Verdict(effect, reroute="audit")
    assert TABLE.final(route, verdict) == (route, verdict)


def test_a_reroute_is_applied() -> None:
    """Policy may send a request to another route, also one that had none."""
    verdict = Verdict(Effect.REROUTE, reroute="audit")
    assert TABLE.final(None, verdict) == (Route("audit", "desk", "reroute"), verdict)


@pytest.mark.parametrize("name", [None, "", "nowhere"])
def test_a_reroute_to_nowhere_is_a_deny(name: str | None) -> None:
    """An unknown route is never guessed; what policy said stays in front."""
    said = Reason("elsewhere", "not here")
    route, verdict = TABLE.final(None, Verdict(Effect.REROUTE, (said,), reroute=name, revision="r1", digest="d", engine="e"))
    assert route is None
    assert verdict.effect is Effect.DENY
    assert [reason.code for reason in verdict.reasons] == ["elsewhere", "route_unknown"]
    assert (verdict.revision, verdict.digest, verdict.engine) == ("r1", "d", "e")


@pytest.mark.parametrize(("intent", "choice"), [("cancel", "clarify"), ("ask", "help"), ("secret", "deny"), ("unknown", "clarify")])
def test_what_abstaining_from_an_intent_means(intent: str, choice: str) -> None:
    """Its own choice, or the listener's."""
    assert TABLE.choice(intent) == choice
