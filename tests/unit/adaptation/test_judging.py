"""What an evaluation found, against the bounds."""

from __future__ import annotations

from typing import Any

import pytest

from router.adaptation.judging import Bounds, faults

BOUNDS = Bounds(accuracy=0.0, intent=0.05, ece=0.01, flips=0.05, least=20)


def side(accuracy: float = 0.9, ece: float | None = 0.02, right: int = 19, texts: int = 40) -> dict[str, Any]:
    return {"texts": texts, "accuracy": accuracy, "ece": ece, "intents": {"pay": {"texts": 20, "right": right}}}


def figures(after: dict[str, Any], flips: int = 0, decisions: int = 100) -> dict[str, Any]:
    return {"before": side(), "after": after, "replay": {"decisions": decisions, "flips": flips, "most": []}}


def test_what_is_no_worse_passes() -> None:
    """Exactly at a bound, too."""
    assert faults(figures(side(0.9, 0.03, 18), flips=5), BOUNDS) == []


@pytest.mark.parametrize(
    ("after", "flips", "sentence"),
    [
        (side(accuracy=0.89), 0, "Of the held-out texts 89.0 % are right instead of 90.0 %."),
        (side(right=17), 0, "Of those about 'pay' 17 of 20 are right instead of 19."),
        (side(ece=0.04), 0, "The calibration error is 0.040 instead of 0.020."),
        (side(), 6, "Of 100 recorded decisions 6 would be classified differently."),
        (side(texts=19), 0, "Only 19 held-out texts were there to measure it on, and 20 are wanted."),
    ],
)
def test_what_is_worse_is_said(after: dict[str, Any], flips: int, sentence: str) -> None:
    """One sentence each; too few texts to say anything are one, too."""
    assert faults(figures(after, flips), BOUNDS) == [sentence]


def test_what_cannot_be_said_is_no_fault() -> None:
    """No decisions, no calibration, an intent with few texts."""
    after = side(ece=None)
    after["intents"] = {"pay": {"texts": 20, "right": 19}}
    assert faults(figures(after, decisions=0), BOUNDS) == []
