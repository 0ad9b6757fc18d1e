"""Smooth weighted round-robin."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from adapters.http_upstream.balancer import Balancer


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6))
def test_shares_are_exact_over_a_cycle(weights: list[int]) -> None:
    """In as many picks as the weights sum to, everyone gets exactly its weight."""
    balancer = Balancer(weights)
    picks = Counter(balancer.pick(range(len(weights))) for _ in range(sum(weights)))
    assert [picks[index] for index in range(len(weights))] == weights


def test_heavy_one_is_spread_out() -> None:
    """nginx's own example: 5, 1, 1."""
    balancer = Balancer([5, 1, 1])
    assert [balancer.pick([0, 1, 2]) for _ in range(7)] == [0, 0, 1, 0, 2, 0, 0]


@given(st.lists(st.integers(1, 9), min_size=2, max_size=5), st.data())
def test_only_available_ones_are_picked(weights: list[int], data: st.DataObject) -> None:
    """Whatever subset is offered, the pick is in it."""
    balancer = Balancer(weights)
    for _ in range(20):
        available = data.draw(st.lists(st.sampled_from(range(len(weights))), min_size=1, unique=True))
        assert balancer.pick(available) in available
