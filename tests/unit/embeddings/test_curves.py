from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddings.curves import at_risk, interval, needed, reliability, risk_coverage, upper
from embeddings.thresholds import DELTA, binomial_tail, threshold_for

Answers = list[tuple[float, bool]]
ANSWERS = st.lists(st.tuples(st.sampled_from([0.2, 0.5, 0.75, 0.9, 0.97, 1.0]), st.booleans()), min_size=1, max_size=60)


def arrays(answers: Answers) -> tuple[np.ndarray, np.ndarray]:
    return np.array([confidence for confidence, _ in answers]), np.array([right for _, right in answers])


@given(st.integers(0, 50), st.integers(1, 50))
def test_the_bound_is_where_so_few_errors_become_unlikely(wrong: int, more: int) -> None:
    """At the bound, so few errors or fewer have the probability that thresholds are chosen by."""
    bound = float(upper(np.array([float(wrong)]), np.array([float(wrong + more)]))[0])
    assert binomial_tail(wrong, wrong + more, bound) == pytest.approx(DELTA, rel=1e-6)


@given(st.integers(0, 40), st.integers(0, 40))
def test_an_interval_holds_the_share_that_was_seen(hits: int, misses: int) -> None:
    """And is everything where nothing was tried."""
    least, most = interval(hits, hits + misses)
    if hits + misses == 0:
        assert (least, most) == (0.0, 1.0)
    else:
        assert 0.0 <= least <= hits / (hits + misses) <= most <= 1.0
        assert most - least < 1.0


@given(ANSWERS)
def test_bins_hold_every_answer_once(answers: Answers) -> None:
    """A confidence of one belongs to the last bin."""
    bins = reliability(*arrays(answers))
    assert sum(each.count for each in bins) == len(answers)
    assert all(each.low <= each.confidence <= each.high for each in bins)
    assert sum(each.count * each.accuracy for each in bins) == pytest.approx(sum(right for _, right in answers))


@given(ANSWERS)
def test_the_curve_ends_where_everything_is_accepted(answers: Answers) -> None:
    """With the share that is wrong altogether; its bound is above the error everywhere."""
    curve = risk_coverage(*arrays(answers))
    assert curve[-1].coverage == 1.0
    assert curve[-1].error == pytest.approx(1 - sum(right for _, right in answers) / len(answers))
    assert all(each.error <= each.bound for each in curve)
    assert [each.confidence for each in curve] == sorted({confidence for confidence, _ in answers}, reverse=True)


@given(ANSWERS, st.sampled_from([0.05, 0.2, 0.4]))
def test_the_operating_point_is_the_one_that_serves(answers: Answers, risk: float) -> None:
    """The same threshold as the thresholds module finds, and a bound within the risk."""
    point = at_risk(*arrays(answers), risk)
    assert point.confidence == threshold_for(*arrays(answers), risk)
    if point.confidence is not None and point.bound is not None:
        assert point.bound <= risk + 1e-9
        assert point.accepted == sum(confidence >= point.confidence for confidence, _ in answers)


@given(ANSWERS, st.sampled_from([0.02, 0.1]))
def test_so_many_answers_of_this_quality_would_prove_the_risk(answers: Answers, risk: float) -> None:
    """The same answers again and again, once there are as many as were said to be needed, prove it at one place at least."""
    confidences, correct = arrays(answers)
    wanted = needed(confidences, correct, risk)
    if wanted is not None:
        times = -(-wanted // len(answers))
        curve = risk_coverage(np.tile(confidences, times), np.tile(correct, times))
        assert min(each.bound for each in curve) <= risk + 1e-6


def test_where_the_best_answers_are_wrong_no_number_helps() -> None:
    """Nothing is promised then."""
    assert needed(np.array([0.9, 0.8]), np.array([False, True]), 0.01) is None


def test_a_long_curve_is_drawn_by_few_points() -> None:
    """Its ends stay."""
    confidences = np.linspace(1.0, 0.1, 5000)
    curve = risk_coverage(confidences, np.ones(5000, dtype=bool))
    assert len(curve) <= 200
    assert (curve[0].confidence, curve[-1].confidence) == (1.0, pytest.approx(0.1))
