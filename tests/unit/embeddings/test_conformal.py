"""Prediction sets have the right intent among them as often as stated, for any scores that are exchangeable, and say when nobody knows."""

from __future__ import annotations

import numpy as np
import pytest

from embeddings.conformal import least_probability, prediction_set
from embeddings.model import IntentModel
from embeddings.prediction import Candidate, Prediction


def found(*probabilities: float) -> Prediction:
    candidates = tuple(Candidate(f"i{number}", 0.0, each) for number, each in enumerate(probabilities))
    return Prediction(candidates, probabilities[0], 0.0, 1.0, None, 0.0, 0.0)


@pytest.mark.parametrize(("coverage", "needed"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)])
def test_a_coverage_needs_so_many_texts(coverage: float, needed: int) -> None:
    """The one that comes counts too; with one less nothing can be said, and with just enough the lowest probability of all is taken."""
    right = np.linspace(0.2, 0.9, needed)
    assert least_probability(right, coverage) == pytest.approx(right.min())
    assert least_probability(right[1:], coverage) is None


def test_all_texts_cannot_be_promised() -> None:
    """100 % has no finite number of examples, 0 % needs hardly any."""
    assert least_probability(np.full(100_000, 0.9), 1.0) is None
    assert least_probability(np.array([0.3, 0.8]), 0.0) == 0.8


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_coverage_is_kept_over_many_draws(coverage: float) -> None:
    """The mean over calibration sets of this small size lies between the stated coverage and that plus one in n + 1."""
    chance, size, draws = np.random.default_rng(1), 39, 20_000
    drawn = chance.beta(2.0, 1.0, (draws, size + 1))
    kept = [row[-1] >= (least_probability(row[:-1], coverage) or 0.0) for row in drawn]
    assert coverage - 0.01 <= np.mean(kept) <= coverage + 1 / (size + 1) + 0.01


def test_a_set_is_what_is_likely_enough() -> None:
    """In the order of probability; what is just as likely belongs to it."""
    assert prediction_set(found(0.5, 0.3, 0.2), 0.3) == ("i0", "i1")


def test_the_likeliest_is_always_among_them() -> None:
    """An empty set would say that nothing is right, which is not what it knows."""
    assert prediction_set(found(0.4, 0.3), 0.9) == ("i0",)


def test_without_a_bound_anything_may_be_right() -> None:
    """All candidates, since nobody knows which can be left out."""
    assert prediction_set(found(0.98, 0.01, 0.01), None) == ("i0", "i1", "i2")


def test_a_model_knows_it_from_texts_that_its_head_did_not_see(model: IntentModel) -> None:
    """One probability for each held-out text, which the calibration's digest covers."""
    held_out = model.artefact.calibration
    assert held_out.right.shape == held_out.confidences.shape
    assert np.array_equal(held_out.right[held_out.correct], held_out.confidences[held_out.correct])
    assert (held_out.right[~held_out.correct] <= held_out.confidences[~held_out.correct]).all()
    assert model.least_probability(0.9) == least_probability(held_out.right, 0.9)
    assert model.least_probability(0.999) is None
