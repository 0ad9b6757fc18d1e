"""Estimates against values that were computed otherwise, and against a truth that is known."""

from __future__ import annotations

from random import Random

import pytest

from router.adaptation.estimating import Drawn, Estimate, estimate, wilson

WILSON = {  # solved for the two shares that are just so far from the one that was seen, by bisection
    (0.8, 10): (0.490162, 0.943318),
    (1.0, 10): (0.722467, 1.0),
    (0.0, 10): (0.0, 0.277533),
    (0.9, 100): (0.825634, 0.944771),
}
RUNS = 250


@pytest.mark.parametrize(("seen", "interval"), WILSON.items())
def test_wilsons_interval(seen: tuple[float, int], interval: tuple[float, float]) -> None:
    assert wilson(*seen) == pytest.approx(interval, abs=1e-6)


def test_one_probability_is_a_plain_share() -> None:
    """Whatever the probability is."""
    drawn = [Drawn(1.0, 0.01)] * 8 + [Drawn(0.0, 0.01)] * 2
    found = estimate(drawn)
    assert (found.value, found.count) == (pytest.approx(0.8), 10)
    assert (found.low, found.high) == pytest.approx(WILSON[0.8, 10], abs=1e-6)


def test_each_weighs_by_how_seldom_it_is_drawn() -> None:
    """Two that stand for two each, eight that stand for themselves: 10 of 12. The interval was put together by hand."""
    drawn = [Drawn(1.0, 0.5), Drawn(0.0, 0.5), *[Drawn(1.0, 1.0)] * 6, *[Drawn(0.0, 1.0)] * 2]
    found = estimate(drawn)
    assert found.value == pytest.approx(8 / 12)
    assert (found.low, found.high) == pytest.approx((0.388684, 0.866271), abs=1e-6)


def test_people_who_differ_are_half_right() -> None:
    assert estimate([Drawn(0.5, 1.0), Drawn(1.0, 1.0)]).value == 0.75


def test_a_group_without_a_fault_is_not_one_that_cannot_have_any() -> None:
    """Forty sure ones were right and stand for nearly everything: the interval is theirs, not that of the many unsure ones."""
    found = estimate([Drawn(1.0, 0.01)] * 40 + [Drawn(0.0, 1.0)] * 20 + [Drawn(1.0, 1.0)] * 380)
    assert found.low < wilson(1.0, 40)[0] + 0.01


def _samples(rng: Random, everything: int, random: float, uncertain: float) -> tuple[list[Drawn], list[Drawn]]:
    """(random ones, all): a tenth is unsure and right in 7 of 10 cases, the rest in 97 of 100."""
    plain, weighted, either = [], [], 1 - (1 - random) * (1 - uncertain)
    for _ in range(everything):
        unsure = rng.random() < 0.1
        by_chance, besides = rng.random() < random, unsure and rng.random() < uncertain
        if by_chance or besides:
            hit = float(rng.random() < (0.7 if unsure else 0.97))
            weighted.append(Drawn(hit, either if unsure else random))
            if by_chance:
                plain.append(Drawn(hit, random))
    return plain, weighted


def test_intervals_have_the_truth_in_them_as_often_as_they_say() -> None:
    """In 95 of 100 cases, by both; unsure ones besides make it narrower, and neither leans to a side."""
    truth, rng = 0.9 * 0.97 + 0.1 * 0.7, Random(20261129)
    found = [tuple(map(estimate, _samples(rng, 6000, 0.03, 0.2))) for _ in range(RUNS)]
    for each in zip(*found, strict=True):
        inside = sum(one.low <= truth <= one.high for one in each) / RUNS
        assert 0.92 <= inside <= 0.985
        assert sum(one.value for one in each) / RUNS == pytest.approx(truth, abs=0.003)
    assert _width([weighted for _, weighted in found]) < 0.85 * _width([plain for plain, _ in found])


def _width(estimates: list[Estimate]) -> float:
    return sum(each.high - each.low for each in estimates) / len(estimates)
