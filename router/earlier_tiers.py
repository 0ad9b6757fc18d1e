"""Why a tier that was asked did not decide, in words: for pages and the command line, of records and of decisions alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WITHOUT_FIGURES = {
    "several_plausible": "more than one intent is plausible",
    "too_many_plausible": "too many intents are plausible",
    "coverage_unproven": "too few held-out texts say how often it is right",
    "negated": "the text says what is not to be done",
    "several_intents": "the text asks for more than one thing",
    "intent_unknown": "the catalog does not have what it named",
}


def why_not(tier: Mapping[str, Any]) -> str:
    """`tier` as records have it, where numbers are decimal strings, or with floats. A tier of an older record has no reason: ''."""
    reason = str(tier.get("reason") or "")
    confidence, least, margin, scope = (_number(tier, name) for name in ("confidence", "threshold", "margin", "scope"))
    if reason in ("confidence_too_low", "static_unsure") and confidence is not None and least is not None and confidence < least:
        return f"not sure enough: {confidence:.2f}, and {least:.2f} is needed"
    if reason in ("out_of_scope", "static_unsure") and scope is not None:
        return f"may be about none of the intents: {scope:.2f} in scope"
    if reason == "static_unsure":
        return "it leaves texts of this kind to the next tier"
    if reason == "margin_too_small" and margin is not None:
        return f"the first two are too close: {margin:.2f} apart"
    return _WITHOUT_FIGURES.get(reason, reason.replace("_", " "))


def _number(tier: Mapping[str, Any], name: str) -> float | None:
    value = tier.get(name)
    return None if value is None else float(value)
