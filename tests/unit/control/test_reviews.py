"""What a reviewer, and who asked for a request, can do over the control API."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from router.control.services import ControlServices
from router.review.attempting import Asked
from router.review.attempts import Kind
from tests.unit.control.parts import DIGEST
from tests.unit.control.test_app import Credential, refused

SEEN = {"content_digest": DIGEST}
ATTEMPTS: list[tuple[str, dict[str, Any], Asked]] = [
    ("claim", {"comment": "mine"}, Asked(Kind.CLAIM, "mine")),
    ("release", {}, Asked(Kind.RELEASE)),
    ("modify", {**SEEN, "changes": {"/amount": 1}}, Asked(Kind.MODIFY, digest=DIGEST, changes={"/amount": 1})),
    (
        "modify",
        {**SEEN, "changes": {"/amount": 1}, "becomes": "b" * 64},
        Asked(Kind.MODIFY, digest=DIGEST, changes={"/amount": 1}, becomes="b" * 64),
    ),
    ("reroute", {**SEEN, "route": "desk.ask"}, Asked(Kind.REROUTE, digest=DIGEST, route="desk.ask")),
    ("reject", {"comment": "no"}, Asked(Kind.REJECT, "no")),
    ("reject", {"reason": "misrouted", "intent": "pay"}, Asked(Kind.REJECT, intent="pay", reason="misrouted")),
    ("reroute", {**SEEN, "route": "desk.ask", "intent": "pay"}, Asked(Kind.REROUTE, digest=DIGEST, route="desk.ask", intent="pay")),
    (
        "modify",
        {**SEEN, "changes": {"/amount": 1}, "reason": "misrouted"},
        Asked(Kind.MODIFY, digest=DIGEST, changes={"/amount": 1}, reason="misrouted"),
    ),
    ("ask", {"question": "which?"}, Asked(Kind.ASK, "which?")),
    ("answer", {"text": "that one"}, Asked(Kind.ANSWER, "that one")),
    ("escalate", {}, Asked(Kind.ESCALATE)),
    ("cancel", {}, Asked(Kind.CANCEL)),
]


@pytest.mark.parametrize(("verb", "body", "asked"), ATTEMPTS, ids=[each[0] for each in ATTEMPTS])
def test_each_attempt_is_passed_on_with_what_was_seen(
    services: ControlServices, client: TestClient, credential: Credential, verb: str, body: dict[str, Any], asked: Asked
) -> None:
    """As the key's subject; the answer has the version that it has then, and without a condition there is none."""
    headers = credential("admin", subject="rita")
    first = client.post(f"/v1/reviews/r1/{verb}", json=body, headers=headers)
    assert (first.status_code, first.headers["etag"]) == (200, '"2"')
    client.post(f"/v1/reviews/r1/{verb}", json=body, headers={**headers, "if-match": '"7"'})
    told = services.reviews.asked  # type: ignore[attr-defined]  # of the desk that is one in tests
    assert told == [("r1", "rita", asked), ("r1", "rita", Asked(**{**_fields(asked), "version": 7}))]


def _fields(asked: Asked) -> dict[str, Any]:
    return {name: getattr(asked, name) for name in Asked.__slots__}


def test_what_may_be_changed_is_shown_to_who_may_decide(services: ControlServices, client: TestClient, credential: Credential) -> None:
    """With its version; what it would become is asked with what was seen, and both need the permission to decide."""
    headers = credential("reviewer", subject="rita")
    seen = client.get("/v1/reviews/r1/values", headers=headers)
    assert (seen.json()["values"], seen.headers["etag"]) == ([{"pointer": "/amount", "kind": "number", "value": 5}], '"1"')
    wanted = {**SEEN, "changes": {"/amount": 1}}
    told = client.post("/v1/reviews/r1/modify/check", json=wanted, headers={**headers, "if-match": '"7"'}).json()
    assert told["becomes"]["changes"] == [{"pointer": "/amount", "before": 5, "after": 1}]
    asked = services.reviews.asked  # type: ignore[attr-defined]  # of the desk that is one in tests
    assert asked == [("r1", "rita", Asked(Kind.MODIFY, digest=DIGEST, version=7, changes={"/amount": 1}))]
    for refusing in (credential("auditor"), credential(scopes=("control:reviews.answer",))):
        assert refused(client.get("/v1/reviews/r1/values", headers=refusing)) == (403, "permission_missing")
        assert refused(client.post("/v1/reviews/r1/modify/check", json=wanted, headers=refusing)) == (403, "permission_missing")


@pytest.mark.parametrize("tag", ["7", '"x"', 'W/"7"', '"1", "2"', '""', '"-1"'])
def test_a_condition_that_is_none_of_ours_is_refused(client: TestClient, credential: Credential, tag: str) -> None:
    """It is not taken for no condition."""
    headers = {**credential("reviewer"), "if-match": tag}
    assert refused(client.post("/v1/reviews/r1/claim", json={}, headers=headers)) == (400, "request_invalid")


def test_who_asked_neither_decides_nor_sees_who_does(client: TestClient, credential: Credential) -> None:
    """The single scope answers and cancels, and is told where it stands."""
    headers = credential(scopes=("control:reviews.answer",))
    answered = client.post("/v1/reviews/r1/answer", json={"text": "that one"}, headers=headers)
    assert answered.json().keys() == {"id", "version", "state", "created", "expires", "approvals", "quorum"}
    assert client.get("/v1/reviews/r1/question", headers=headers).json() == {"question": "what for?", "respond_by": None}
    for verb in ("claim", "approve", "reject", "modify", "reroute", "ask", "escalate"):
        assert refused(client.post(f"/v1/reviews/r1/{verb}", json={}, headers=headers)) == (403, "permission_missing")
    assert refused(client.get("/v1/reviews/r1", headers=headers)) == (403, "permission_missing")


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("modify", SEEN),
        ("modify", {**SEEN, "changes": {}}),
        ("modify", {"changes": {"/a": 1}}),
        ("reroute", {**SEEN, "route": "No Route"}),
        ("ask", {}),
        ("ask", {"question": ""}),
        ("claim", {"version": 1}),
        ("claim", {"intent": "pay"}),
        ("approve", {**SEEN, "reason": "misrouted"}),
        ("reject", {"reason": "too much"}),
        ("reject", {"intent": "No Intent"}),
    ],
)
def test_a_body_that_says_too_little_or_too_much_is_refused(client: TestClient, credential: Credential, verb: str, body: Any) -> None:
    """In one sentence, before anybody is asked."""
    assert refused(client.post(f"/v1/reviews/r1/{verb}", json=body, headers=credential("reviewer"))) == (422, "request_invalid")
