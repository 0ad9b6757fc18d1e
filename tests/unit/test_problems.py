from __future__ import annotations

import json

from router.problems import TITLES, problem


def test_a_problem_has_the_members_of_rfc_9457() -> None:
    """Type, title, status and detail, with our code and the decision id beside them."""
    told = json.loads(problem(403, "denied", detail="Not today.", decision_id="d1", reasons=[{"code": "x"}]))
    assert told == {
        "type": "urn:lockgate:problem:denied",
        "title": TITLES["denied"],
        "status": 403,
        "code": "denied",
        "detail": "Not today.",
        "decision_id": "d1",
        "reasons": [{"code": "x"}],
    }


def test_a_code_without_a_title_still_has_one() -> None:
    """Codes of policies are not in the table: they have their kind's title, which never varies with the request."""
    assert json.loads(problem(403, "four_eyes"))["title"] == "The request was denied"
    assert json.loads(problem(418, "tea_only"))["title"] == "Tea only"


def test_extra_members_never_replace_the_standard_ones() -> None:
    """Whatever is added, the code stays the code."""
    assert json.loads(problem(403, "denied", type="x"))["type"] == "urn:lockgate:problem:denied"
