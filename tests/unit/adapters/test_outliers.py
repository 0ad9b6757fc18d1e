"""Who is left alone for answering worse than it may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from adapters.http_upstream.outliers import OutlierLimits, Outliers

LIMITS = OutlierLimits(consecutive=3, failures=0.5, requests=10, interval=10.0, ejection=30.0, longest=70.0, most=0.5)


def fail(outliers: Outliers, index: int, now: float, times: int = 3) -> float | None:
    return [outliers.note(index, True, now) for _ in range(times)][-1]


def test_failures_in_a_row_put_it_out_for_a_while() -> None:
    """And then it is in again, without a probe."""
    outliers = Outliers(2, LIMITS)
    assert fail(outliers, 0, 1.0, 2) is None
    assert outliers.among([0, 1], 1.0) == [0, 1]
    assert fail(outliers, 0, 1.0, 1) == 30.0
    assert outliers.among([0, 1], 30.9) == [1]
    assert outliers.among([0, 1], 31.0) == [0, 1]


def test_a_good_answer_ends_the_row() -> None:
    """Only those in a row count so."""
    outliers = Outliers(2, replace(LIMITS, requests=1000))
    for _ in range(20):
        assert fail(outliers, 0, 1.0, 2) is None
        assert outliers.note(0, False, 1.0) is None


def test_a_share_of_failures_among_good_answers_is_enough() -> None:
    """Once there are enough to judge by, and within one interval only."""
    outliers = Outliers(2, LIMITS)
    for number in range(9):
        assert outliers.note(0, number % 2 == 0, 1.0) is None
    assert outliers.note(0, True, 1.0) == 30.0
    other = Outliers(2, LIMITS)
    assert [other.note(0, number % 2 == 0, now) for number, now in enumerate([1.0] * 8 + [12.0] * 8)] == [None] * 16


def test_each_time_it_is_out_for_longer_and_is_forgiven_in_time() -> None:
    """Up to a limit; an interval that it was in takes one off."""
    outliers, now, lasted = Outliers(2, LIMITS), 1.0, []
    for _ in range(4):
        lasts = fail(outliers, 0, now)
        assert lasts is not None
        lasted.append(lasts)
        now += lasts
    assert lasted == [30.0, 60.0, 70.0, 70.0]
    for _ in range(10):
        now += 11
        outliers.note(0, False, now)
    assert fail(outliers, 0, now) == 30.0


def test_the_only_one_is_never_out() -> None:
    """Whatever it answers."""
    assert fail(Outliers(1, replace(LIMITS, most=1.0)), 0, 1.0, 100) is None


def test_where_all_that_are_usable_are_out_they_are_asked_all_the_same() -> None:
    """The others may have failed their health checks."""
    outliers = Outliers(4, LIMITS)
    assert fail(outliers, 0, 1.0) is not None
    assert outliers.among([0], 2.0) == [0]


@given(st.integers(1, 8), st.floats(0, 1), st.lists(st.tuples(st.integers(0, 7), st.booleans(), st.floats(0, 5)), max_size=200))
def test_never_more_are_out_than_allowed(count: int, most: float, events: Sequence[tuple[int, bool, float]]) -> None:
    """And one is always left."""
    outliers, now = Outliers(count, replace(LIMITS, most=most)), 0.0
    for index, failed, passed in events:
        now += passed
        outliers.note(index % count, failed, now)
        out = sum(outliers.out(each, now) for each in range(count))
        assert out <= min(int(count * most), count - 1)
