"""What a decision's page tells of its records."""

from __future__ import annotations

from typing import Any

from router.control.console.html import TEMPLATES
from tests.unit.control.console.parts import HOSTILE

STATIC: dict[str, Any] = {
    "tier": "static",
    "intent": "cancel",
    "reason": "static_unsure",
    "confidence": "0.610000",
    "threshold": "0.900000",
    "margin": "0.200000",
    "scope": "0.800000",
    "candidates": [
        {"intent": "cancel", "raw": "1.0", "calibrated": "0.610000"},
        {"intent": HOSTILE, "raw": "0.1", "calibrated": "0.200000"},
    ],
}


def told(tiers: Any) -> str:
    return TEMPLATES.from_string('{% from "_story.html" import passed %}{{ passed(tiers) }}').render(tiers=tiers)


def test_tiers_that_were_passed_over_are_told_with_their_scores_and_why() -> None:
    """Each candidate has a bar and its share in words; the threshold that was missed is marked; names are text."""
    page = told([STATIC])
    assert "The static tier held" in page
    assert "not sure enough: 0.61, and 0.90 is needed" in page
    assert page.count('<svg class="bar') == 2
    assert page.count('class="mark"') == 2
    assert "61.0 %" in page
    assert HOSTILE not in page


def test_a_record_from_before_scores_were_kept_tells_what_it_has() -> None:
    """And a decision of one tier has no such part."""
    page = told([{"tier": "static", "intent": "cancel"}])
    assert "cancel" in page
    assert "<svg" not in page
    assert told(None).strip() == ""
