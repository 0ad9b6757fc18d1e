import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddings.thresholds import scope_threshold_for, threshold_for


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
    confidences = np.linspace(1.0, 0.0, 1001)
    correct = confidences >= 0.5
    assert threshold_for(confidences, correct, 0.01) == pytest.approx(0.495, abs=0.01)


def test_few_examples_prove_no_small_risk() -> None:
    """Fifty right answers do not support one per cent, a hundred do."""
    assert threshold_for(np.ones(50), np.ones(50, dtype=bool), 0.01) is None
    assert threshold_for(np.ones(100), np.ones(100, dtype=bool), 0.01) == 1.0


def test_scope_threshold_rejects_the_stated_share() -> None:
    """A twentieth of held-out in-scope examples lies below the threshold for 5 %."""
    in_scope = np.random.default_rng(5).uniform(size=1000)
    assert (in_scope < scope_threshold_for(in_scope, 0.05)).mean() == pytest.approx(0.05, abs=0.002)
    assert (in_scope < scope_threshold_for(in_scope, 0.0)).sum() == 0
