"""Thresholds by costs: the choice is the cheapest that is proved to be worth it, and the bounds hold for what was not seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddings.costs import SHARE, Costs, cheapest, expected_cost
from embeddings.model import IntentModel
from embeddings.proving import Accepted, find_by
from embeddings.thresholds import DELTA, least_proof

COSTS = Costs(wrong=10.0, abstain=1.0)
DRAWS = 200
MOST = DELTA + 3 * (DELTA * (1 - DELTA) / DRAWS) ** 0.5  # of DRAWS, with room for chance


def test_the_threshold_is_where_costs_are_least() -> None:
    """Errors begin at half; a text below is worth accepting while fewer than a tenth of such texts are wrong."""
    chance = np.random.default_rng(3)
    confidences = chance.uniform(size=20_000)
    correct = chance.uniform(size=20_000) < np.where(confidences > 0.5, 1.0, 0.7)
    found = cheapest(confidences, correct, COSTS)
    assert found is not None
    assert found.confidence == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("size", [100, 600])
@pytest.mark.parametrize("slope", [0.3, 1.0])
def test_the_true_cost_is_seldom_above_its_bound(size: int, slope: float) -> None:
    """Over many draws from one population, at the threshold that each chose, the true cost is above the bound in at most a twentieth."""
    chance, above = np.random.default_rng(size + int(10 * slope)), 0
    for _ in range(DRAWS):
        confidences = chance.uniform(size=size)
        correct = chance.uniform(size=size) >= slope * (1 - confidences)
        found = cheapest(confidences, correct, COSTS)
        if found is not None:
            share = 1 - found.confidence  # of the population that is accepted; slope * share / 2 of it is wrong
            true = COSTS.abstain * (1 - share) + COSTS.wrong * share * slope * share / 2
            above += true > expected_cost(found, size, COSTS)[1]
    assert above / DRAWS <= MOST


@pytest.mark.parametrize("size", [40, 300])
def test_accepting_is_seldom_chosen_where_it_does_not_pay(size: int) -> None:
    """Where exactly the share of errors at which it does not matter is wrong, whatever the confidence, it is taken to pay in at most a
    twentieth of the draws, however many thresholds are tried."""
    chance, chosen = np.random.default_rng(size), 0
    for _ in range(DRAWS):
        confidences, correct = chance.uniform(size=size), chance.uniform(size=size) >= COSTS.break_even
        chosen += cheapest(confidences, correct, COSTS) is not None
    assert chosen / DRAWS <= MOST


@given(
    pairs=st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.9]), st.booleans()), max_size=300),
    wrong=st.floats(1.1, 100.0),
)
def test_whatever_is_chosen_costs_less_than_abstaining(pairs: list[tuple[float, bool]], wrong: float) -> None:
    """The held-out cost is under its bound, and the bound is no more than an abstention."""
    confidences, correct = np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs], dtype=bool)
    costs = Costs(wrong, 1.0)
    found = cheapest(confidences, correct, costs)
    if found is not None:
        mean, bound, error = expected_cost(found, len(pairs), costs)
        assert mean <= bound <= 1.0
        assert found.wrong / found.accepted <= error <= costs.break_even


def test_too_few_texts_say_how_many_are_missing() -> None:
    """One right answer less than is needed accepts nothing."""
    enough = least_proof(COSTS.break_even, SHARE)
    few, many = (Accepted(np.ones(n), np.ones(n, dtype=bool), np.ones(n, dtype=bool), n) for n in (enough - 1, enough))
    found = find_by(few, COSTS)
    assert (found.confidence, found.more_needed, found.cost, found.cost_at_most) == (None, 1, None, None)
    found = find_by(many, COSTS)
    assert (found.confidence, found.coverage, found.accepted, found.cost) == (1.0, 1.0, enough, 0.0)


def test_of_equal_costs_the_higher_threshold_is_taken() -> None:
    """Ten more right ones and one more wrong one gain nothing."""
    confidences = np.concatenate([np.full(100, 0.9), np.full(10, 0.8)])
    correct = np.arange(110) < 109
    assert cheapest(confidences, correct, COSTS) == cheapest(confidences[:100], correct[:100], COSTS)


def test_a_model_has_the_threshold_of_its_own_held_out_texts(model: IntentModel) -> None:
    """Where errors cost little it is the cheapest one; where no number of texts like these could prove that it pays there is none."""
    held_out, cheap = model.artefact.calibration, Costs(1.5, 1.0)
    found = cheapest(held_out.confidences, held_out.correct, cheap)
    assert found is not None
    assert model.threshold_by(cheap) == found.confidence
    assert model.threshold_by(Costs(1e9, 1.0)) is None
