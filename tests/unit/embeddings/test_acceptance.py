"""What the static tier may answer: as much as it can without losing, leaking or choosing for somebody who said two things."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from embeddings.acceptance import LEAST_CONFIDENCE, MAX_LEAKED, MAX_LEAKED_HELD_BACK, MAX_LOST, MAX_MIXED, acceptance
from embeddings.artefact import Calibration
from embeddings.scope import FEATURES, ScopeGate

GATE = ScopeGate((0.0,) * len(FEATURES), 0.0)
COUNT = 2000


def calibration(seed: int, right: float = 0.98) -> Calibration:
    chance = np.random.default_rng(seed)
    confidences = chance.uniform(0.5, 1.0, COUNT)
    return Calibration(
        temperature=1.0,
        gate=GATE,
        confidences=confidences,
        correct=chance.uniform(size=COUNT) < right,
        rows=np.arange(COUNT),
        right=confidences,
        in_scope=chance.uniform(0.4, 1.0, COUNT),
        places=np.arange(COUNT),
        outside=chance.uniform(0.0, 0.8, 500),
        outside_confidences=chance.uniform(0.3, 1.0, 500),
        mixed=chance.uniform(0.0, 0.9, 1000),
        mixed_confidences=chance.uniform(0.3, 1.0, 1000),
        scope_point=0.5,
        given=True,
    )


@pytest.mark.parametrize("given", [True, False])
def test_all_bounds_are_kept(given: bool) -> None:
    """Loss, leak and mixtures, each as counted on the same held-out texts."""
    static, encoder = replace(calibration(1), given=given), replace(calibration(2), correct=np.ones(COUNT, dtype=bool))
    static = replace(static, correct=static.confidences > 0.6)
    found = acceptance(static, encoder)
    assert found is not None
    taken = (static.confidences >= found.confidence) & (static.in_scope >= found.scope)
    assert found.share == pytest.approx(taken.mean())
    assert found.lost <= MAX_LOST
    assert ((static.outside_confidences >= found.confidence) & (static.outside >= found.scope)).mean() <= (
        MAX_LEAKED if given else MAX_LEAKED_HELD_BACK
    )
    assert ((static.mixed_confidences >= found.confidence) & (static.mixed >= found.scope)).mean() <= MAX_MIXED
    assert found.confidence >= LEAST_CONFIDENCE


def test_a_tier_that_loses_too_much_answers_nothing() -> None:
    """Where it is wrong however sure it looks, everything is the encoder's."""
    encoder = replace(calibration(2), correct=np.ones(COUNT, dtype=bool))
    assert acceptance(calibration(1, right=0.5), encoder) is None


def test_what_it_gets_right_makes_up_for_what_it_gets_wrong() -> None:
    """Lost is the difference to the encoder, not its own errors."""
    static = calibration(1, right=0.9)
    assert acceptance(static, replace(calibration(2), correct=static.correct)) is not None


def test_only_texts_that_both_were_judged_by_count() -> None:
    """A tuned encoder has fewer held-out texts, in another order; what it got wrong there is not the static tier's loss."""
    static, encoder = calibration(1), calibration(2)
    rows = np.arange(COUNT)[::-2]
    partial = replace(encoder, confidences=encoder.confidences[rows], correct=encoder.correct[rows], rows=rows)
    kept = np.sort(rows)
    alone = replace(static, in_scope=static.in_scope[kept], places=static.places[kept])
    assert acceptance(static, partial) == acceptance(alone, encoder)


def test_tiers_that_saw_other_texts_cannot_be_compared() -> None:
    """Without the same held-out texts nothing is known about their difference."""
    static, encoder = calibration(1), calibration(2)
    assert acceptance(static, replace(encoder, rows=encoder.rows + COUNT)) is None
    assert acceptance(replace(static, places=static.places[:0]), encoder) is None
