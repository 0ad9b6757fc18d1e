"""What a stated risk takes, with the counts behind it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from embeddings.model import IntentModel
from embeddings.proving import Accepted, crossed, find
from embeddings.thresholds import error_bound

RIGHT = np.arange(400) < 380
TEXTS = Accepted(np.linspace(1.0, 0.0, 400), RIGHT, np.ones(400, dtype=bool), 500)


def test_a_threshold_comes_with_what_it_rests_on() -> None:
    """Coverage is of all texts about the intents, also those that another gate turned away; the bound is that of the counts."""
    found = find(TEXTS, 0.05)
    assert found.confidence is not None
    taken = TEXTS.confidences >= found.confidence
    assert (found.accepted, found.wrong, found.held_out) == (taken.sum(), (taken & ~RIGHT).sum(), 400)
    assert found.coverage == taken.sum() / 500
    assert found.error_at_most == error_bound(found.wrong, found.accepted) <= 0.05


def test_a_risk_that_cannot_be_proved_says_how_much_is_missing() -> None:
    """No threshold, no coverage, and the number of examples that would be needed at least."""
    few = Accepted(np.ones(50), np.ones(50, dtype=bool), np.ones(50, dtype=bool), 50)
    found = find(few, 0.01)
    assert (found.confidence, found.coverage, found.accepted, found.error_at_most) == (None, 0.0, 0, None)
    assert found.more_needed == 249


def test_no_text_at_all_proves_nothing() -> None:
    """An intent that was never held out has no threshold."""
    nothing = Accepted(np.empty(0), np.empty(0, dtype=bool), np.empty(0, dtype=bool), 0)
    assert (find(nothing, 0.05).confidence, find(nothing, 0.05).more_needed) == (None, 59)


def test_given_texts_about_nothing_that_pass_the_gate_are_wrong(model: IntentModel) -> None:
    """They count as accepted and wrong, and are about none of the intents; where none were given nothing is assumed of them."""
    calibration = replace(model.artefact.calibration, outside=np.array([0.9, 0.1]), outside_confidences=np.array([0.8, 0.7]), given=True)
    with_them, without = crossed(calibration, 0.5), crossed(replace(calibration, given=False), 0.5)
    assert len(with_them.correct) - len(without.correct) == 1
    assert (with_them.confidences[-1], with_them.correct[-1], with_them.about[-1]) == (0.8, False, False)
    assert with_them.total == without.total == len(calibration.in_scope)


@pytest.mark.parametrize("scope", [0.2, 0.8])
def test_only_what_passes_the_gate_counts(model: IntentModel, scope: float) -> None:
    """Held-out texts that the gate turns away could not be accepted at any confidence, so they are not among the counted ones."""
    calibration = replace(model.artefact.calibration, given=False)
    assert crossed(calibration, scope).about.sum() == (calibration.in_scope >= scope).sum()
