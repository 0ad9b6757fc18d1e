import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from embeddings.thresholds import binomial_tail, error_bound, least_proof, more_needed, scope_threshold_for, threshold_for


@given(
    pairs=st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.9, 0.99]), st.booleans()), max_size=300),
    max_error=st.floats(0.0, 0.5),
)
def test_threshold_keeps_the_stated_risk(pairs: list[tuple[float, bool]], max_error: float) -> None:
    """Of what reaches the threshold at most the stated share is wrong, equal confidences counted together."""
    confidences = np.array([pair[0] for pair in pairs])
    correct = np.array([pair[1] for pair in pairs], dtype=bool)
    threshold = threshold_for(confidences, correct, max_error)
    if threshold is not None:
        assert (~correct[confidences >= threshold]).mean() <= max_error


def test_threshold_is_the_lowest_that_will_do() -> None:
    """Errors low in the ranking do not stop the threshold from going down to them."""
    confidences = np.linspace(1.0, 0.0, 10_001)
    correct = confidences >= 0.5
    assert threshold_for(confidences, correct, 0.01) == pytest.approx(0.5, abs=0.01)


def test_few_examples_prove_no_small_risk() -> None:
    """298 right answers do not support one per cent with 95 % certainty, 299 do."""
    assert threshold_for(np.ones(298), np.ones(298, dtype=bool), 0.01) is None
    assert threshold_for(np.ones(299), np.ones(299, dtype=bool), 0.01) == 1.0
    assert least_proof(0.01) == 299


@pytest.mark.parametrize(("errors", "trials", "rate"), [(0, 299, 0.01), (3, 1000, 0.01), (0, 1, 0.5), (150, 15000, 0.01), (5, 5, 0.3)])
def test_the_bound_is_that_of_clopper_and_pearson(errors: int, trials: int, rate: float) -> None:
    """The binomial distribution as scipy knows it."""
    assert binomial_tail(errors, trials, rate) == pytest.approx(binom.cdf(errors, trials, rate), rel=1e-9)


def test_the_stated_risk_is_exceeded_seldom() -> None:
    """Over many draws from one population the true risk beyond the threshold is above the stated one in at most a twentieth of them."""
    chance = np.random.default_rng(11)
    exceeded = 0
    for _ in range(300):
        confidences = chance.uniform(size=1200)
        correct = chance.uniform(size=1200) < confidences  # the true risk beyond t is (1 - t) / 2
        threshold = threshold_for(confidences, correct, 0.1)
        exceeded += threshold is not None and (1.0 - threshold) / 2 > 0.1
    assert exceeded / 300 <= 0.05 + 3 * (0.05 * 0.95 / 300) ** 0.5


def test_scope_threshold_rejects_the_stated_share() -> None:
    """A twentieth of held-out in-scope examples lies below the threshold for 5 %."""
    in_scope = np.random.default_rng(5).uniform(size=1000)
    assert (in_scope < scope_threshold_for(in_scope, 0.05)).mean() == pytest.approx(0.05, abs=0.002)
    assert (in_scope < scope_threshold_for(in_scope, 0.0)).sum() == 0


@pytest.mark.parametrize(("errors", "trials"), [(0, 1), (0, 299), (3, 1000), (150, 15_000), (5, 6)])
def test_the_upper_bound_is_that_of_clopper_and_pearson(errors: int, trials: int) -> None:
    """The quantile of the beta distribution as scipy knows it."""
    assert error_bound(errors, trials) == pytest.approx(beta.ppf(0.95, errors + 1, trials - errors), rel=1e-9)


def test_nothing_seen_bounds_nothing() -> None:
    """Without trials, and where all failed, every share is possible."""
    assert error_bound(0, 0) == 1.0
    assert error_bound(4, 4) == 1.0


@given(
    pairs=st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.9]), st.booleans()), max_size=200),
    max_error=st.floats(0.005, 0.5),
)
def test_fewer_than_are_said_to_be_needed_do_not_help(pairs: list[tuple[float, bool]], max_error: float) -> None:
    """One example less than the least number, surer than all others and right, still proves nothing."""
    confidences = np.array([pair[0] for pair in pairs])
    correct = np.array([pair[1] for pair in pairs], dtype=bool)
    if threshold_for(confidences, correct, max_error) is None:
        more = more_needed(confidences, correct, max_error) - 1
        surer, right = np.concatenate([np.ones(more), confidences]), np.concatenate([np.ones(more, dtype=bool), correct])
        assert threshold_for(surer, right, max_error) is None


def test_as_many_as_are_said_to_be_needed_can_do() -> None:
    """With 100 right ones, 199 more prove one per cent; with an error among the surest it takes 473 altogether."""
    assert more_needed(np.ones(100), np.ones(100, dtype=bool), 0.01) == 199
    one_wrong = np.arange(300) != 0
    assert more_needed(np.ones(300), one_wrong, 0.01) == 473 - 300
    assert threshold_for(np.ones(473), np.arange(473) != 0, 0.01) == 1.0
    assert more_needed(np.ones(9), np.ones(9, dtype=bool), 0.0) > 10**15
