"""What policy is told of routes among which it may choose."""

from __future__ import annotations

import pytest

from router.decision import Outcome, Result, Route
from router.stages.alternatives import LEAST, SLOT_NS, SLOTS, Alternatives, Offer, Standings
from tests.unit.identity.parts import HandClock

HERE = Route("cheap", "desk", "intent")
OFFERS = {
    "cheap": Offer("desk", 0.5, 0.8, 0.99, lambda: True),
    "senior": Offer("people", 9.0, usable=lambda: None),
    "alone": Offer("desk"),
}


class Choice:
    def __init__(self) -> None:
        self.clock = HandClock(0)
        self.made = Alternatives(OFFERS, {"cheap": ("senior",), "alone": ()}, Standings(), self.clock)

    def note(self, count: int, outcome: Outcome, route: str = "cheap") -> None:
        for _ in range(count):
            self.made.note(Route(route, "desk", "intent"), outcome)

    def recent(self, route: str = "cheap") -> object:
        told = self.made.told(HERE)
        assert told is not None
        return told[route]["recent"]


def ended(status: int = 200, ms: float = 100.0, result: Result = Result.ROUTED) -> Outcome:
    return Outcome(result, status, upstream_ns=int(ms * 1e6))


def test_it_is_told_what_the_catalog_promises_and_whether_it_may_be_asked() -> None:
    """Of the route that the request would take, and of its alternatives."""
    assert Choice().made.told(HERE) == {
        "cheap": {"destination": "desk", "cost": 0.5, "sla": {"latency_ms": 800.0, "availability": 0.99}, "usable": True, "recent": None},
        "senior": {"destination": "people", "cost": 9.0, "sla": {"latency_ms": None, "availability": None}, "usable": None, "recent": None},
    }


@pytest.mark.parametrize("route", [None, Route("alone", "desk", "intent"), Route("senior", "people", "reroute")])
def test_where_there_is_nothing_to_choose_nothing_is_told(route: Route | None) -> None:
    assert Choice().made.told(route) is None


def test_of_few_requests_nothing_is_said() -> None:
    choice = Choice()
    choice.note(LEAST - 1, ended(502))
    assert choice.recent() is None
    choice.note(1, ended())
    assert choice.recent() == {"failed": 0.95, "latency_p95_ms": pytest.approx(100, rel=0.2)}


def test_one_failure_of_very_many_is_not_none() -> None:
    """Shares are rounded up: nothing that failed is told as 0."""
    choice = Choice()
    choice.note(999, ended())
    choice.note(1, ended(503))
    assert choice.recent() == {"failed": 0.01, "latency_p95_ms": pytest.approx(100, rel=0.2)}


def test_the_latency_is_what_95_of_100_keep_and_never_told_too_small() -> None:
    choice = Choice()
    choice.note(94, ended(ms=10))
    choice.note(6, ended(ms=3000))
    assert choice.recent() == {"failed": 0.0, "latency_p95_ms": pytest.approx(3000, rel=0.2)}
    told = choice.recent()
    assert isinstance(told, dict)
    assert told["latency_p95_ms"] >= 3000


@pytest.mark.parametrize(
    "outcome",
    [
        ended(403, result=Result.DENIED),
        ended(202, result=Result.HELD),
        ended(422, result=Result.ABSTAINED),
        ended(499, result=Result.FAILED),
        ended(413, result=Result.FAILED),
    ],
)
def test_what_was_not_sent_and_who_went_away_say_nothing_of_the_route(outcome: Outcome) -> None:
    choice = Choice()
    choice.note(2 * LEAST, outcome)
    assert choice.recent() is None


@pytest.mark.parametrize("status", [200, 302, 404, 422, 501])
def test_what_the_service_refuses_is_no_failure_of_it(status: int) -> None:
    choice = Choice()
    choice.note(LEAST, ended(status))
    assert choice.recent() == {"failed": 0.0, "latency_p95_ms": pytest.approx(100, rel=0.2)}


@pytest.mark.parametrize(("status", "result"), [(500, Result.ROUTED), (503, Result.ROUTED), (502, Result.FAILED), (504, Result.FAILED)])
def test_failures_are(status: int, result: Result) -> None:
    choice = Choice()
    choice.note(LEAST, ended(status, result=result))
    assert choice.recent() == {"failed": 1.0, "latency_p95_ms": pytest.approx(100, rel=0.2)}


def test_a_minute_later_it_is_forgotten() -> None:
    choice = Choice()
    choice.note(LEAST, ended(502))
    choice.clock.now += (SLOTS - 1) * SLOT_NS
    assert choice.recent() is not None
    choice.clock.now += SLOT_NS
    assert choice.recent() is None
    choice.note(LEAST, ended())
    assert choice.recent() == {"failed": 0.0, "latency_p95_ms": pytest.approx(100, rel=0.2)}


def test_routes_are_told_apart() -> None:
    choice = Choice()
    choice.note(LEAST, ended(502))
    choice.note(LEAST, ended(ms=20), "senior")
    assert choice.recent() == {"failed": 1.0, "latency_p95_ms": pytest.approx(100, rel=0.2)}
    assert choice.recent("senior") == {"failed": 0.0, "latency_p95_ms": pytest.approx(20, rel=0.2)}
