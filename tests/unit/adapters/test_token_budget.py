"""A minute's tokens: never more is taken than there is, and time fills the bucket to its rim."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.token_budget import TokenBudget


def test_what_is_not_there_cannot_be_taken() -> None:
    """A refusal takes nothing."""
    budget = TokenBudget(60, 0.0)
    assert [budget.take(tokens, 0.0) for tokens in (50, 11, 10, 1)] == [True, False, True, False]


def test_time_fills_the_bucket_to_its_rim() -> None:
    """A second brings a sixtieth, and an idle hour no more than a minute's worth."""
    budget = TokenBudget(60, 0.0)
    budget.take(60, 0.0)
    assert [budget.take(2, now) for now in (1.0, 2.0)] == [False, True]
    assert [budget.take(tokens, 3600.0) for tokens in (61, 60)] == [False, True]


def test_a_call_that_cost_more_leaves_a_debt() -> None:
    """The coming seconds pay for it; one that cost less gives back."""
    budget = TokenBudget(60, 0.0)
    budget.take(60, 0.0)
    budget.settle(60, 120)
    assert [budget.take(1, now) for now in (59.0, 62.0)] == [False, True]
    budget.settle(1, 0)
    assert budget.take(2, 62.0)


@given(st.lists(st.tuples(st.integers(0, 100), st.floats(0, 30)), max_size=50))
def test_a_minute_never_gives_more_than_two_buckets(steps: list[tuple[int, float]]) -> None:
    """What is full at the start and what flows in: within any minute that is all there is."""
    budget, now, taken = TokenBudget(60, 0.0), 0.0, 0
    for tokens, pause in steps:
        now += pause
        if now > 60.0:
            break
        taken += tokens if budget.take(tokens, now) else 0
    assert taken <= 120.001
