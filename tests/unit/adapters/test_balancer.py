"""Smooth weighted round-robin."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from adapters.http_upstream.balancer import Balancer, ByHash, LeastBusy


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


@dataclass
class Loads:
    busy: int


def test_the_least_busy_one_for_its_weight_is_asked() -> None:
    """Among equals in turns."""
    least = LeastBusy([1, 2, 1])
    assert least.pick([0, 1, 2], b"", [Loads(2), Loads(3), Loads(2)]) == 1
    assert least.pick([0, 2], b"", [Loads(2), Loads(3), Loads(1)]) == 2
    equal = [Loads(0)] * 3
    assert sorted(least.pick([0, 2], b"", equal) for _ in range(4)) == [0, 0, 2, 2]


NAMES = [f"http://10.0.0.{number}:80" for number in range(4)]
KEYS = [f"subject-{number}".encode() for number in range(2000)]


def test_a_key_has_one_upstream_and_only_those_of_a_lost_one_move() -> None:
    """Whatever the order in which they are configured."""
    hashing = ByHash([1, 1, 1, 1], NAMES)
    before = {key: hashing.pick([0, 1, 2, 3], key) for key in KEYS}
    without = {key: hashing.pick([0, 1, 3], key) for key in KEYS}
    assert all(without[key] == place for key, place in before.items() if place != 2)
    turned = ByHash([1, 1, 1, 1], NAMES[::-1])
    assert all(turned.pick([0, 1, 2, 3], key) == 3 - place for key, place in before.items())


def test_keys_are_shared_out_by_weight() -> None:
    """Within a few percent."""
    hashing = ByHash([1, 3], NAMES[:2])
    share = sum(hashing.pick([0, 1], key) for key in KEYS) / len(KEYS)
    assert 0.71 < share < 0.79


def test_what_has_no_key_goes_in_turns() -> None:
    """Nobody gets all of it."""
    hashing = ByHash([1, 1], NAMES[:2])
    assert sorted(hashing.pick([0, 1]) for _ in range(4)) == [0, 0, 1, 1]
