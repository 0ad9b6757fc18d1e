"""Why a tier did not decide, in words."""

from __future__ import annotations

from typing import Any

import pytest

from router.earlier_tiers import why_not

TOLD = {"confidence": "0.612345", "threshold": "0.900000", "margin": "0.040000", "scope": "0.310000"}


@pytest.mark.parametrize(
    ("tier", "expected"),
    [
        ({**TOLD, "reason": "confidence_too_low"}, "not sure enough: 0.61, and 0.90 is needed"),
        ({"confidence": 0.61, "threshold": 0.9, "reason": "static_unsure"}, "not sure enough: 0.61, and 0.90 is needed"),
        ({**TOLD, "threshold": "0.500000", "reason": "static_unsure"}, "may be about none of the intents: 0.31 in scope"),
        ({**TOLD, "reason": "out_of_scope"}, "may be about none of the intents: 0.31 in scope"),
        ({"confidence": None, "scope": None, "reason": "static_unsure"}, "it leaves texts of this kind to the next tier"),
        ({**TOLD, "reason": "margin_too_small"}, "the first two are too close: 0.04 apart"),
        ({**TOLD, "margin": None, "reason": "margin_too_small"}, "margin too small"),
        ({**TOLD, "reason": "several_plausible"}, "more than one intent is plausible"),
        ({**TOLD, "reason": "made_up"}, "made up"),
        ({"tier": "static", "intent": "pay"}, ""),
    ],
)
def test_a_reason_reads_with_the_figure_that_was_short(tier: dict[str, Any], expected: str) -> None:
    """From a record's decimals as from floats; a record from before reasons were kept says nothing."""
    assert why_not(tier) == expected
