from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.adaptation.chances import Share, p95, p95_between, share, together


@pytest.mark.parametrize(
    ("good", "of", "low", "high"),
    [(56, 70, 0.6918, 0.8769), (48, 80, 0.4904, 0.7003), (9, 10, 0.5958, 0.9821), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0)],
)
def test_a_share_has_wilsons_interval(good: int, of: int, low: float, high: float) -> None:
    """Also where none or all did well."""
    found = share(good, of)
    assert (found.mean, found.low, found.high) == (pytest.approx(good / of), pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


@pytest.mark.parametrize(
    ("one", "other", "low", "high"),
    [((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090), ((10, 10), (0, 20), 0.6791, 1.0)],
)
def test_a_difference_has_newcombes_interval(one: tuple[int, int], other: tuple[int, int], low: float, high: float) -> None:
    """Method 10 of his tables."""
    found = together([(1.0, share(*one)), (-1.0, share(*other))])
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_what_moves_half_changes_half() -> None:
    """Weights scale an interval, and what stays as it is is no part of it."""
    whole, half = (together([(weight, share(56, 70)), (-weight, share(48, 80))]) for weight in (1.0, 0.5))
    assert (half.mean, half.low, half.high) == (
        pytest.approx(whole.mean / 2),
        pytest.approx(whole.low / 2),
        pytest.approx(whole.high / 2),
    )
    assert together([]) == Share(0.0, 0.0, 0.0)


@given(st.integers(0, 500), st.integers(0, 500))
def test_an_interval_holds_its_share_and_stays_within_none_and_all(good: int, more: int) -> None:
    """And says nothing where nothing was seen."""
    found = share(good, good + more)
    assert 0 <= found.low <= found.mean <= found.high <= 1


def test_the_slowest_five_of_a_hundred_are_told_by_rank() -> None:
    """Weighted as if each value stood as often as its weight says."""
    assert p95((value, 1.0) for value in range(1, 101)) == 95
    assert p95([(1, 90.0), (7, 4.0), (9, 6.0)]) == 9
    assert p95([]) is None


def test_of_too_few_nothing_is_said_of_the_slowest() -> None:
    """With a hundred the interval reaches from rank 90 to rank 100."""
    assert p95_between(range(1, 101)) == (90, 100)
    assert p95_between(range(1, 51)) is None
