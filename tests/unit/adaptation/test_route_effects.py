"""What another route would do, and when it is suggested, over ledgers whose answers can be told by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from router.adaptation.route_effects import Change, Seen, Way, Went, Window, effect, went_wrong
from router.adaptation.suggesting import Considered, Judged, Margins, Why, WhyNot, chosen, consider

HOUR = 3_600_000_000_000
WINDOW = Window(0, 10 * HOUR, 20)
CHANGE = Change("support", "cheap", "dear")
WAYS = {
    "cheap": Way("cheap", "assistant", 1.0, 1.0, ("dear",)),
    "dear": Way("dear", "desk", 5.0, 2.0),
    "third": Way("third", "elsewhere", 2.0),
}
MARGINS = Margins(0.02, 0.01)
NOBODY = Judged()


def seen(route: str, count: int, failed: int = 0, took_ms: int = 100, **more: Any) -> list[Seen]:
    """Evenly over the time; the failures, too. What did not come by the intent's own route policy sent there."""
    judged = "allow" if route == "cheap" else "reroute"
    made = []
    for number in range(count):
        wrong = number * failed // count != (number + 1) * failed // count
        at_ns = number * WINDOW.until_ns // count
        row = Seen(f"{route}{number}", at_ns, route, WAYS[route].destination, judged, True, wrong, took_ms * 1_000_000)
        made.append(replace(row, **more))
    return made


def told(rows: Sequence[Seen], **more: Any) -> dict[str, Any]:
    return effect(CHANGE, WAYS, rows, WINDOW, **more)


def test_what_would_go_elsewhere_and_how_it_would_fare() -> None:
    """Of 100 requests 70 take the intent's route, of which 14 fail; 30 were sent by policy, of which none does: then all are sent there.
    Costs are 0.7 * 1 + 0.3 * 5, and then 5."""
    found = told(seen("cheap", 70, 14) + seen("dear", 30, took_ms=300))
    assert (found["requests"], found["moved"], found["too_few"], found["stopped"]) == (100, 0.7, [], 0)
    assert found["success"]["before"]["mean"] == pytest.approx(0.86)
    assert found["success"]["after"]["mean"] == pytest.approx(1.0)
    assert found["success"]["difference"]["mean"] == pytest.approx(0.14)
    assert found["success"]["difference"]["low"] == pytest.approx(0.7 * (0.2 - ((0.2 - 0.1227) ** 2 + 0.1135**2) ** 0.5), abs=2e-3)
    assert found["cost"] == {"before": pytest.approx(2.2), "after": 5.0}
    assert found["latency_p95_ms"] == {"before": 300.0, "after": 300.0}


def test_what_has_to_be_true_is_said() -> None:
    """That nobody drew lots, who chose what went there, how much more it would get, and that nothing is left to choose from then."""
    said = " ".join(told(seen("cheap", 70, 14) + seen("dear", 30))["assumed"])
    for words in ("nobody drew lots", "30 known outcomes by 'dear' 30 are of requests that policy", "3.3 times", "names no alternatives"):
        assert words in said


def test_of_too_few_outcomes_nothing_is_said() -> None:
    """The shares that would go elsewhere are told all the same, and the costs, which do not depend on outcomes."""
    found = told(seen("cheap", 70, 14) + seen("dear", 19))
    assert (found["too_few"], found["success"]["difference"]) == (["dear"], None)
    assert found["latency_p95_ms"]["after"] is None
    assert found["moved"] == pytest.approx(70 / 89)
    assert "too_few" not in [each["route"] for each in found["routes"]]
    assert [each["too_few"] for each in found["routes"]] == [False, True]


def test_a_route_that_keeps_what_it_has_needs_no_outcomes() -> None:
    """Three requests that policy sends to a third route are no reason to say nothing."""
    found = told(seen("cheap", 70, 14) + seen("dear", 30) + seen("third", 3))
    assert found["too_few"] == []
    assert found["success"]["difference"]["mean"] == pytest.approx(70 / 103 * 0.2)


@pytest.mark.parametrize(
    "more",
    [
        {"failed": None},
        {"destination": "one it had before"},
        {"sent_by_people": "third"},
    ],
    ids=["nothing known", "another destination", "sent elsewhere by a reviewer"],
)
def test_what_says_nothing_of_the_route_does_not_count(more: dict[str, Any]) -> None:
    """As outcomes; where these requests would go is told all the same."""
    others = [replace(each, **more) for each in seen("dear", 40, 40)]
    found = told(seen("cheap", 70, 14) + seen("dear", 30) + others)
    dear = next(each for each in found["routes"] if each["route"] == "dear")
    assert (dear["outcomes"], dear["failed"]) == (30, 0)


def test_a_rule_with_its_own_route_is_not_asked() -> None:
    """The intent's route is nothing to it."""
    assert told(seen("cheap", 70, follows=False) + seen("cheap", 30))["requests"] == 30


def test_policy_says_where_each_would_go() -> None:
    """Of ten it would send one back, stop one, hold one, and let one through that it holds now."""
    rows = seen("cheap", 10)
    said: dict[str, tuple[Went, Went]] = {each.decision: (("allow", None), ("allow", None)) for each in rows}
    said |= {"cheap0": (("allow", None), ("reroute", "cheap")), "cheap1": (("allow", None), ("deny", None))}
    said |= {"cheap2": (("allow", None), ("review", None)), "cheap3": (("review", None), ("allow", None))}
    found = told(rows + seen("dear", 30), asked=said)
    assert (found["requests"], found["moved"], found["stopped"], found["let_through"], found["policy_asked"]) == (10, 0.7, 2, 1, True)
    assert {each["route"]: (each["before"], each["after"]) for each in found["routes"]} == {"cheap": (9, 1), "dear": (0, 7)}


@pytest.mark.parametrize(
    ("result", "status", "wrong"),
    [
        ("routed", 200, False),
        ("routed", 404, False),
        ("routed", 501, False),
        ("routed", 503, True),
        ("failed", 502, True),
        ("failed", 499, None),
        ("denied", 403, None),
        (None, None, None),
    ],
)
def test_what_counts_as_a_failure(result: str | None, status: int | None, wrong: bool | None) -> None:
    """As for the choice itself: a refusal and a caller who went away say nothing of the service."""
    assert went_wrong(result, status) is wrong


def considered(rows: Sequence[Seen], judged: Judged = NOBODY, change: Change = CHANGE, **ways: Way) -> tuple[Why | None, WhyNot | None]:
    found = consider(change, {**WAYS, **ways}, rows, judged, WINDOW, MARGINS)
    return found.why, found.why_not


def test_a_route_whose_requests_fare_better_is_suggested() -> None:
    """By an interval that lies above nothing, and in each third of the time."""
    assert considered(seen("cheap", 100, 20) + seen("dear", 100, 2)) == (Why.SUCCEEDS, None)


def test_an_interval_that_includes_no_improvement_is_no_suggestion() -> None:
    """Of 40 requests 4 failures against 2 say nothing, and 4,000 against 2,000 of 40,000 would."""
    assert considered(seen("cheap", 40, 4) + seen("dear", 40, 2)) == (None, WhyNot.NO_GAIN)
    assert considered(seen("cheap", 4000, 400) + seen("dear", 4000, 200)) == (Why.SUCCEEDS, None)


def test_an_improvement_that_is_sure_and_small_is_none() -> None:
    """One in a hundred; the margin is two."""
    assert considered(seen("cheap", 9000, 99) + seen("dear", 9000, 0)) == (None, WhyNot.NO_GAIN)


def test_what_failed_for_an_hour_is_not_left_for_good() -> None:
    """Wherever the failures were: what lasted for less than a third of the time is not in all of it."""
    for first in (0, 37, 75):
        failing = [replace(each, failed=first <= number < first + 25) for number, each in enumerate(seen("cheap", 100))]
        assert considered(failing + seen("dear", 100)) == (None, WhyNot.UNSTEADY)


def test_too_few_outcomes_are_no_suggestion() -> None:
    """However well those went."""
    assert considered(seen("cheap", 100, 50) + seen("dear", 19)) == (None, WhyNot.FEW)
    assert considered([]) == (None, WhyNot.FEW)


def test_what_costs_less_is_suggested_where_it_is_as_good() -> None:
    """Surely not worse by more than a hundredth."""
    change, dear = Change("support", "dear", "cheap"), {"cheap": Way("cheap", "assistant", 1.0), "dear": Way("dear", "desk", 5.0)}

    def of(count: int, failed: int) -> list[Seen]:
        return seen("dear", count, effect="allow") + seen("cheap", count, failed, effect="reroute")

    assert considered(of(1000, 0), change=change, **dear) == (Why.COSTS, None)
    assert considered(of(1000, 20), change=change, **dear) == (None, WhyNot.NO_GAIN)
    assert considered(of(100, 0), change=change, **dear) == (None, WhyNot.NO_GAIN)
    assert considered(of(1000, 0), change=change, cheap=Way("cheap", "assistant"), dear=dear["dear"]) == (None, WhyNot.NO_GAIN)


def test_what_keeps_a_promise_is_suggested_where_it_is_broken() -> None:
    """A second of 95 of 100."""
    assert considered(seen("cheap", 500, took_ms=1500) + seen("dear", 500, took_ms=400)) == (Why.QUICKER, None)
    assert considered(seen("cheap", 500, took_ms=900) + seen("dear", 500, took_ms=400)) == (None, WhyNot.NO_GAIN)
    assert considered(seen("cheap", 500, took_ms=1500) + seen("dear", 500, took_ms=1400)) == (None, WhyNot.NO_GAIN)


def test_where_reviewers_send_most_is_suggested() -> None:
    """Several of them, of enough that they decided; not where it is known to be worse."""
    two = frozenset({"rita", "ruben"})
    mostly = Judged(20, {"dear": 18}, {"dear": two})
    assert considered(seen("cheap", 5), mostly) == (Why.JUDGED, None)
    assert considered(seen("cheap", 5), Judged(20, {"dear": 12}, {"dear": two})) == (None, WhyNot.FEW)
    assert considered(seen("cheap", 5), Judged(9, {"dear": 9}, {"dear": two})) == (None, WhyNot.FEW)
    assert considered(seen("cheap", 5), replace(mostly, by={"dear": frozenset({"rita"})})) == (None, WhyNot.FEW)
    assert considered(seen("cheap", 200) + seen("dear", 200, 100), mostly) == (None, WhyNot.NO_GAIN)


def one(intent: str, low: float, why: Why | None = Why.SUCCEEDS, to: str = "dear") -> Considered:
    return Considered(Change(intent, "cheap", to), {"success": {"difference": {"low": low}}}, why, None if why else WhyNot.NO_GAIN)


def test_of_an_intent_the_best_is_suggested_and_of_all_so_many() -> None:
    """What fares better comes before what costs less."""
    found = [one("a", 0.1, Why.COSTS, "third"), one("a", 0.05), one("b", 0.2), one("c", 0.01), one("d", 0.9, None)]
    assert [(each.change.intent, each.why, each.why_not) for each in chosen(found, (), (), 2)] == [
        ("b", Why.SUCCEEDS, None),
        ("a", Why.SUCCEEDS, None),
        ("c", None, WhyNot.CAPPED),
        ("a", None, WhyNot.OPEN),
        ("d", None, WhyNot.NO_GAIN),
    ]


def test_what_was_answered_lately_or_is_open_is_not_suggested_again() -> None:
    """So that nobody is asked the same every hour, and a route that was changed does not change back by the next round."""
    found = [one("a", 0.2), one("b", 0.1)]
    assert [each.why_not for each in chosen(found, {"a"}, {"b"}, 5)] == [WhyNot.OPEN, WhyNot.RESTING]
