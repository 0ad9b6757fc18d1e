"""What is counted adds up, whoever counted it."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from router.rollout.figures import FIRST_NS, GROWTH, MOST_NAMED, OTHERS, Figures, Times, bucket

spans = st.lists(st.integers(0, 10**11), min_size=1, max_size=50)


def counted(*spent: int) -> Times:
    times = Times()
    for each in spent:
        times.judged(failed=False)
        times.took(each)
    return times


@given(spans)
def test_a_quantile_is_right_to_a_quarter(spent: list[int]) -> None:
    """The largest value is below it, and not by more than a bucket; beyond the last bucket it is the last one's end."""
    found, largest = counted(*spent).quantile_ns(1.0), min(max(spent), FIRST_NS * GROWTH**80)
    assert found >= largest * 0.999
    assert found <= max(FIRST_NS, largest * GROWTH * 1.001)


@given(spans, spans)
def test_parts_add_up(one: list[int], other: list[int]) -> None:
    """Two workers' times together are those of one that saw both."""
    both = counted(*one)
    both.add(counted(*other))
    assert both.to_json() == counted(*one, *other).to_json()


def test_nothing_has_no_quantile() -> None:
    """It is 0, which trips no guard."""
    assert Times().quantile_ns(0.95) == 0.0


@given(st.integers(0, 10**12))
def test_buckets_have_an_order(spent: int) -> None:
    """Longer is never in an earlier one."""
    assert bucket(spent) <= bucket(spent + 1)


def full() -> Figures:
    figures = Figures(compared=9, flips=3, looser=2, otherwise=1, skipped=4, decided=5)
    figures.current.took(5_000)
    figures.candidate.judged(failed=True)
    figures.candidate.took(9_000)
    figures.flip("look", "allow → deny", "rbac.no_grant", 3)
    return figures


def test_they_come_back_from_a_message() -> None:
    """As they were, over JSON."""
    told = full().to_json()
    assert Figures.from_json(json.loads(json.dumps(told))).to_json() == told


def test_what_was_taken_is_counted_once() -> None:
    """After it those who count begin at nothing, with the very same objects."""
    figures = full()
    candidate = figures.candidate
    figures.reset()
    assert figures.to_json() == Figures().to_json()
    candidate.judged(failed=False)
    assert figures.candidate.evaluations == 1


def test_names_do_not_grow_without_end() -> None:
    """What is one too many is counted among others, also when parts are put together."""
    one = Figures()
    for number in range(MOST_NAMED + 5):
        one.flip(f"i{number}", "allow → deny", "a")
    two = Figures()
    two.add(one)
    assert two.flipped[OTHERS, OTHERS, OTHERS] == 5
    assert len(two.flipped) == MOST_NAMED + 1
