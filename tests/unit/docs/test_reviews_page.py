"""The rule that the page about reviews shows refuses, once it is named where the page says."""

from __future__ import annotations

import re
from typing import Any

import pytest

from adapters.rego.embedded import load
from router.decision import Effect
from tests.unit.docs.pages import page
from tests.unit.docs.test_policies_page import DATA, POLICIES

PAGE = page("reviews.md")
(SHOWN,) = re.findall(r"^```rego\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
(NAMED,) = re.findall(r"`(data\.lockgate\.rules\.reviewing\.office\.deny)`", PAGE)
REVIEW = "lockgate/review.rego"
LAST = "data.lockgate.rules.reviewing.tenant.deny,\n"


def attempt(groups: list[str]) -> dict[str, Any]:
    person = {"type": "user", "roles": ["manager"], "tenant": None, "authenticated_by": "api_key", "acting": []}
    return {
        "version": 1,
        "entry": "review",
        "attempt": {"kind": "approve", "route": None, "time": {"ns": 1}},
        "reviewer": {**person, "key": "k-rita", "id": "rita", "groups": groups},
        "requester": {"key": "k-ada", "id": "ada", "acting": []},
        "approvals": [],
        "review": {
            "destination": "bank",
            "tenant": None,
            "reviewers": ["manager"],
            "each_of": [],
            "level": 0,
            "levels": [],
            "state": "pending",
        },
    }


@pytest.mark.parametrize(("groups", "effect"), [(["contractor"], Effect.DENY), ([], Effect.ALLOW)])
async def test_the_example_decides_as_it_says(groups: list[str], effect: Effect) -> None:
    """A contractor releases nothing; whoever is none may."""
    assert LAST in POLICIES[REVIEW]
    named = POLICIES[REVIEW].replace(LAST, f"{LAST}\t\t{NAMED},\n")
    engine = load({**POLICIES, REVIEW: named, "lockgate/rules/reviewing/office/office.rego": SHOWN}, DATA)
    assert (await engine.evaluate("review", None, attempt(groups))).effect is effect
