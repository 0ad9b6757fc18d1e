import math

import numpy as np
import pytest

from embeddings.scope import FEATURES, ScopeGate, scope_features
from embeddings.scope_training import auroc, best_cut, fit_gate


def test_gate_is_calibrated_for_even_odds() -> None:
    """Rows given probability p are in scope p of the time, although four times as many were outside."""
    random = np.random.default_rng(3)
    inside, outside = random.normal(1.0, 1.0, (2000, 5)), random.normal(0.0, 1.0, (8000, 5))
    features = np.concatenate([inside, outside])
    in_scope = np.arange(10_000) < 2000
    weights = np.where(in_scope, 1 / 2000, 1 / 8000)
    gate = fit_gate(features, in_scope, weights)
    scores = np.array([gate.probability(tuple(row)) for row in features.tolist()])
    near_even = (scores > 0.4) & (scores < 0.6)
    assert weights[near_even & in_scope].sum() / weights[near_even].sum() == pytest.approx(0.5, abs=0.08)
    assert auroc(scores, in_scope) > 0.9


def test_a_feature_that_never_varies_is_ignored() -> None:
    """A constant column gets no weight instead of a division by zero."""
    random = np.random.default_rng(4)
    features = random.normal(size=(100, 2))
    features[:, 1] = 3.0
    gate = fit_gate(features, features[:, 0] > 0, np.ones(100))
    assert gate.coefficients[1] == 0.0
    assert gate.coefficients[0] > 0.5


def test_probability_stays_finite_for_extreme_features() -> None:
    """Scores far outside give 0 and 1, no overflow."""
    gate = ScopeGate((1.0,), 0.0)
    assert gate.probability((-1e9,)) == 0.0
    assert gate.probability((1e9,)) == 1.0


def test_energy_does_not_depend_on_how_many_intents_say_nothing() -> None:
    """With all logits equal the energy is that logit, for two intents as for a thousand."""
    for classes in (2, 1000):
        features = scope_features(0.7, 0.7, 0.7 + math.log(classes), classes, 0.0, 0.0, None)
        assert features[FEATURES.index("energy")] == pytest.approx(0.7)


def test_background_counts_against_all_intents_together() -> None:
    """As odds, whatever the level of the logits; nothing where no background was learnt."""

    def background(logit: float | None, level: float) -> float:
        return scope_features(level, level, level + 1.0, 3, 0.0, 0.0, logit)[FEATURES.index("background")]

    assert background(4.0, 2.0) == background(5.0, 3.0) == 1.0
    assert background(None, 2.0) == 0.0


def test_the_cut_is_where_most_weight_is_on_its_side() -> None:
    """Kinds weigh what they are given, equal scores stay together, and with one kind only there is nothing to choose."""
    scores = np.array([0.1, 0.2, 0.2, 0.8, 0.9])
    inside = np.array([False, True, False, True, True])
    assert best_cut(scores, inside, np.array([0.2, 0.1, 0.3, 0.2, 0.2])) == 0.8
    assert best_cut(scores, inside, np.array([0.1, 0.6, 0.1, 0.1, 0.1])) == 0.2
    assert best_cut(scores, np.ones(5, dtype=bool), np.full(5, 0.2)) == 0.5


def test_auroc_of_known_orders() -> None:
    """Perfect, reversed, tied and one-sided orders."""
    positive = np.array([False, False, True, True])
    assert auroc(np.array([0.0, 1.0, 2.0, 3.0]), positive) == 1.0
    assert auroc(np.array([3.0, 2.0, 1.0, 0.0]), positive) == 0.0
    assert auroc(np.ones(4), positive) == 0.5
    assert auroc(np.ones(4), np.ones(4, dtype=bool)) == 0.5
