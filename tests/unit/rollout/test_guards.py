"""What takes a candidate back, and what does not."""

from __future__ import annotations

import pytest

from router.config.rollouts import RolloutGuards
from router.rollout.figures import Figures, Times
from router.rollout.guards import LEAST_TIMED, enough, tripped

LEAST = 100
FREE = RolloutGuards(flips=None, looser=None, errors=None, latency=None)


def times(count: int, spent_ns: int, failures: int = 0) -> Times:
    found = Times()
    for number in range(count):
        found.judged(failed=number < failures)
        found.took(spent_ns)
    return found


def why(seen: Figures, **guards: object) -> str | None:
    found = tripped(seen, FREE.model_copy(update=guards), LEAST)
    return found.reason if found is not None else None


@pytest.mark.parametrize(
    ("compared", "flips", "said"), [(1000, 50, None), (1000, 51, "guard_flips"), (10, 5, None), (10, 6, "guard_flips"), (0, 0, None)]
)
def test_flips_count_over_enough_requests_and_no_sooner(compared: int, flips: int, said: str | None) -> None:
    """A share of those compared; of fewer than enough, as many as enough could have."""
    assert why(Figures(compared=compared, flips=flips), flips=0.05) == said


def test_a_laxer_candidate_has_a_guard_of_its_own() -> None:
    """Stricter ones pass it."""
    assert why(Figures(compared=1000, flips=500, looser=1), looser=0.0) == "guard_looser"
    assert why(Figures(compared=1000, flips=500), looser=0.0) is None


def test_only_failures_beyond_the_usual_count() -> None:
    """What fails in force as often is no fault of the candidate's."""
    same = Figures(current=times(1000, 1, 20), candidate=times(1000, 1, 20))
    worse = Figures(current=times(1000, 1, 20), candidate=times(1000, 1, 40))
    assert (why(same, errors=0.001), why(worse, errors=0.001)) == (None, "guard_errors")


def test_the_first_failure_that_enough_could_not_have_trips() -> None:
    """It is not waited for more."""
    assert why(Figures(candidate=times(3, 1, 1)), errors=0.001) == "guard_errors"


@pytest.mark.parametrize(
    ("before_ns", "after_ns", "said"),
    [(2_000_000, 3_000_000, None), (2_000_000, 9_000_000, "guard_latency"), (10_000, 500_000, None), (10_000, 5_000_000, "guard_latency")],
)
def test_latency_is_compared_where_somebody_would_notice(before_ns: int, after_ns: int, said: str | None) -> None:
    """Ten times a few microseconds are nothing."""
    assert why(Figures(current=times(LEAST, before_ns), candidate=times(LEAST, after_ns)), latency=2.0) == said


def test_latency_waits_for_enough_of_both() -> None:
    """A first slow evaluation says nothing."""
    few = LEAST_TIMED - 1
    assert why(Figures(current=times(few, 1), candidate=times(LEAST, 10**9)), latency=2.0) is None
    assert why(Figures(current=times(LEAST, 1), candidate=times(few, 10**9)), latency=2.0) is None


def test_without_guards_nothing_trips() -> None:
    """Whatever was seen."""
    worst = Figures(compared=9, flips=9, looser=9, current=times(LEAST, 1), candidate=times(LEAST, 10**10, LEAST))
    assert why(worst) is None


def test_enough_is_enough() -> None:
    """Compared requests count, and nothing else does."""
    assert not enough(Figures(compared=LEAST - 1, decided=10**6), LEAST)
    assert enough(Figures(compared=LEAST), LEAST)
