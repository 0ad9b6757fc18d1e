"""How reviewers decide about held requests, told from steps."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from router.adaptation.reviewers import LEAST
from router.ports import ReviewStep, Stepped
from router.wiring.deciding import deciding, rounds

SECOND = 1_000_000_000
Steps = list[ReviewStep]


def steps(*told: tuple[str, str, float]) -> Steps:
    """Each (event, who, second)."""
    return [ReviewStep("held", 0, "asker"), *(ReviewStep(event, int(at * SECOND), who) for event, who, at in told)]


class Kept:
    """Reviews page by page, two steps a page."""

    def __init__(self, reviews: list[Steps]) -> None:
        self.reviews = {f"d{number:03}": steps for number, steps in enumerate(reviews)}

    async def stepped(
        self, events: Sequence[str], since_ns: int, after: str, until_ns: int, limit: int, tenant: str | None = None
    ) -> Sequence[Stepped]:
        found = [Stepped(step.at_ns, name, steps) for name, steps in self.reviews.items() for step in steps if step.event in events]
        wanted = [each for each in found if (since_ns, after) < (each.at_ns, each.decision_id) and each.at_ns < until_ns]
        return sorted(wanted, key=lambda each: (each.at_ns, each.decision_id))[:2]


def figures(reviews: list[Steps], since_ns: int, until_ns: int) -> list[dict[str, Any]]:
    return asyncio.run(deciding(Kept(reviews), since_ns, until_ns, None))


def one(reviews: list[Steps], who: str = "a", until: float = 1000) -> dict[str, Any]:
    (found,) = [each for each in figures(reviews, 0, int(until * SECOND)) if each["reviewer"] == who]
    return found


def dwells(*told: tuple[str, str, float]) -> list[float | None]:
    found = [said for each in rounds(steps(*told)) for said in each]
    return [None if said.dwell_ns is None else said.dwell_ns / SECOND for said in found]


@pytest.mark.parametrize("decision", ["approved", "endorsed", "modified", "rerouted", "rejected"])
def test_a_decision_takes_from_the_claim(decision: str) -> None:
    """Also where the claim was renewed meanwhile."""
    assert dwells(("claimed", "a", 10), ("renewed", "a", 14), (decision, "a", 17)) == [7.0]


@pytest.mark.parametrize(
    "told",
    [
        (("approved", "a", 17),),
        (("claimed", "b", 10), ("approved", "a", 17)),
        (("claimed", "a", 10), ("lapsed", "", 12), ("approved", "a", 17)),
        (("claimed", "a", 10), ("unclaimed", "a", 12), ("approved", "a", 17)),
        (("claimed", "a", 10), ("information_asked", "a", 12), ("information_given", "asker", 90), ("approved", "a", 97)),
        (("claimed", "a", 10), ("escalated", "a", 12), ("approved", "a", 17)),
    ],
)
def test_without_a_claim_of_ones_own_that_still_held_there_is_no_time(told: Any) -> None:
    """What somebody else needed for an answer is no time of the reviewer's."""
    assert dwells(*told) == [None]


def test_of_too_few_nothing_is_said_and_who_ranks_as_a_key() -> None:
    """But how many there were; from ten on times are by nearest rank; decisions without a claim have none."""
    claimed = [steps(("claimed", "a", 10), ("approved", "a", 10 + number)) for number in range(1, 11)]
    few = one([*claimed[: LEAST - 1], steps(("rejected", "a", 20))])
    assert (few["decided"], few["claimed"], few["median_s"], few["p90_s"]) == (10, 9, None, None)
    assert (few["rejected"].value, one(claimed[: LEAST - 1])["rejected"].value) == (0.1, None)
    enough = one(claimed)
    assert (enough["claimed"], enough["median_s"], enough["p90_s"]) == (10, 5.0, 9.0)
    assert [each["reviewer"] for each in figures([steps(("approved", "b", 1), ("rejected", "a", 2))], 0, 10 * SECOND)] == ["a", "b"]


def test_agreement_is_with_others_about_the_same_content() -> None:
    """Who approved before it was changed, or before it was judged anew, spoke of something else; nobody agrees with themselves."""
    alike = [steps(("endorsed", "b", 1), ("approved", "a", 2))] * 10
    against = [steps(("endorsed", "b", 1), ("endorsed", "a", 2), ("rejected", "c", 3))] * 10
    found = one([*alike, *against, steps(("approved", "a", 1))])
    assert (found["agreement"].of, found["agreement"].value) == (20, pytest.approx(0.75))
    assert one(against, "c")["agreement"].value == 0.0
    changed = steps(("endorsed", "b", 1), ("modified", "a", 2), ("approved", "c", 3))
    anew = steps(("endorsed", "b", 1), ("approved", "a", 2), ("superseded", "", 3), ("rejected", "c", 4))
    assert [[said.key_id for said in each] for each in rounds(changed)] == [["b"], ["a", "c"]]
    assert [[said.key_id for said in each] for each in rounds(anew)] == [["b", "a"], ["c"]]


def test_only_decisions_of_the_time_count() -> None:
    """Those before it are still what others said."""
    found = figures([steps(("endorsed", "b", 1), ("approved", "a", 20))], 10 * SECOND, 30 * SECOND)
    assert [(each["reviewer"], each["decided"], each["agreement"].of) for each in found] == [("a", 1, 1)]
    assert figures([steps(("approved", "a", 30))], 10 * SECOND, 30 * SECOND) == []
