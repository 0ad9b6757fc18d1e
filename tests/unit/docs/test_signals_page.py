"""The rules that the page about signals shows decide, put where it says."""

from __future__ import annotations

import re
from typing import Any

import pytest

from adapters.rego.embedded import load
from router.decision import Effect
from tests.unit.docs.pages import page
from tests.unit.docs.test_policies_page import DATA, POLICIES

INJECTION, UNUSUAL = re.findall(r"^```rego\n(.*?)^```$", page("signals.md"), re.MULTILINE | re.DOTALL)
PLACE = "lockgate/rules/risk/review/review.rego"
DATA_OF_A_CLERK = {
    "lockgate": {"config": {**DATA["lockgate"]["config"], "access": {"intents": {}, "routes": {}, "risks": {"low": {"employee": ["*"]}}}}}
}
PLAIN = {"score": 0.1, "count": 1}


def document(findings: dict[str, Any], **classification: float) -> dict[str, Any]:
    return {
        "version": 1,
        "entry": "decision",
        "request": {"id": "r1", "method": "POST", "path": "/", "body": {"bytes": 1, "truncated": False, "problem": None}},
        "subject": {
            "id": "ada",
            "type": "user",
            "roles": ["employee"],
            "groups": [],
            "tenant": None,
            "authenticated_by": "jwt",
            "claims": {},
        },
        "signals": {"findings": findings, "unknown": []},
        "classification": {"status": "classified", "intent": "ask", "confidence": 0.99, "novelty": 0.1, "injection": 0.1, **classification},
        "risk": {"level": "low", "score": 0.1, "contributions": {}},
        "intent": {"name": "ask", "owner": "", "risk": "low", "tags": []},
        "route": {"name": "ask", "destination": "desk"},
    }


@pytest.mark.parametrize(
    ("shown", "findings", "classification", "code"),
    [
        (INJECTION, {}, {"injection": 0.97}, "acme.injection"),
        (INJECTION, {}, {}, None),
        (UNUSUAL, {"unusual.rate": {"score": 0.6, "count": 1}}, {}, "acme.unusual"),
        (UNUSUAL, {}, {"novelty": 0.999}, "acme.unusual"),
        (UNUSUAL, {}, {}, None),
    ],
)
async def test_a_rule_of_the_page_holds_what_it_says(
    shown: str, findings: dict[str, Any], classification: dict[str, float], code: str | None
) -> None:
    """Also of a request in which nothing was found."""
    assert f"`policies/{PLACE}`" in page("signals.md")
    engine = load({**POLICIES, PLACE: f"{POLICIES[PLACE]}\n{shown}"}, DATA_OF_A_CLERK)
    verdict = await engine.evaluate("decision", "ask", document(findings, **classification))
    assert (verdict.effect, [each.code for each in verdict.reasons if each.code == code]) == (
        (Effect.REVIEW, [code]) if code is not None else (Effect.ALLOW, [])
    )
