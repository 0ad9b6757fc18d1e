"""A reviewer asks, and the caller whose request is held answers through the gateway, where it looks for the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from tests.e2e.running import Lockgate
from tests.e2e.test_reviews import approve, held, shown, state_of
from tests.e2e.test_waiting import look, waits_for
from tests.e2e.wire import Answer

OWN = yaml.safe_load((Path(__file__).parents[2] / "docs/reference/gateway-own.yaml").read_text(encoding="utf-8"))


def described(answer: Answer) -> Any:
    """The document, which is as the description of these paths says."""
    schema = {"$ref": "#/components/schemas/Standing", "components": OWN["components"]}
    Draft202012Validator(schema).validate(answer.json)
    return answer.json


def question(lockgate: Lockgate, review: str, text: str = "For whom?") -> Any:
    """What its caller then sees of it."""
    asked = lockgate.control("POST", f"/v1/reviews/{review}/ask", {"question": text}, who="max")
    assert (asked.status, asked.json["state"]) == (200, "more_information")
    return described(look(lockgate, review))["question"]


def say(lockgate: Lockgate, review: str, body: Any, tag: str | None, who: str = "ann", **fields: str) -> Answer:
    return lockgate.ask(who, "POST", f"/.lockgate/reviews/{review}", body, **({"if-match": tag} if tag is not None else {}), **fields)


def events(lockgate: Lockgate, review: str) -> list[str]:
    return [leaf["event"] for leaf in lockgate.story(review) if leaf["schema"] == "lockgate.review.v1"]


def test_a_question_is_answered_where_the_end_is_seen(lockgate: Lockgate) -> None:
    """Its caller sees it there and says something to it; the answer is on record, an approval covers it, and it is sent once."""
    review = held(lockgate)
    before = shown(lockgate, review)["content_digest"]
    asked = question(lockgate, review)
    waiting = look(lockgate, review)
    assert (waiting.status, waiting.json["state"], asked["text"], asked["number"]) == (202, "more_information", "For whom?", 1)
    assert (asked["answer_at"], asked["if_match"]) == (f"/.lockgate/reviews/{review}", waiting.fields["etag"])
    assert "answer_by" in asked
    given = say(lockgate, review, {"text": "For Zoe."}, asked["if_match"])
    assert (given.status, given.json["state"], "question" in described(given)) == (200, "pending", False)
    assert given.fields["etag"] == look(lockgate, review).fields["etag"]
    assert events(lockgate, review) == ["held", "information_asked", "information_given"]
    seen = shown(lockgate, review)
    assert [(each["question"], each["text"], each["by"]) for each in seen["request"]["information"]] == [("For whom?", "For Zoe.", "ann")]
    late = lockgate.control("POST", f"/v1/reviews/{review}/approve", {"comment": "ok", "content_digest": before}, who="max")
    assert (late.status, late.code) == (409, "content_changed")
    assert approve(lockgate, review).status == 200
    state_of(lockgate, review, "done")
    assert len(lockgate.arrived("/pay/1")) == 1
    assert look(lockgate, review).fields["x-lockgate-review"] == "done"


def test_the_same_answer_counts_once(lockgate: Lockgate) -> None:
    """By the ETag of its question, or by the key that its caller gave it, also after other steps; another one under that key is refused."""
    review = held(lockgate)
    asked = question(lockgate, review)
    first = say(lockgate, review, {"text": "one"}, asked["if_match"], idempotency_key="k-1")
    again = say(lockgate, review, "one", asked["if_match"], idempotency_key="k-1")
    assert ("idempotent-replayed" in first.fields, again.fields["idempotent-replayed"]) == (False, "true")
    second = question(lockgate, review, "And when?")
    assert second["number"] == 2
    assert say(lockgate, review, "one", asked["if_match"]).fields["idempotent-replayed"] == "true"
    other = say(lockgate, review, "two", second["if_match"], idempotency_key="k-1")
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    stale = say(lockgate, review, "two", asked["if_match"])
    assert (stale.status, stale.code) == (409, "review_changed")
    assert say(lockgate, review, "two", second["if_match"]).status == 200
    assert [each["text"] for each in shown(lockgate, review)["request"]["information"]] == ["one", "two"]
    approve(lockgate, review)
    state_of(lockgate, review, "done")
    assert say(lockgate, review, "two", second["if_match"]).fields["idempotent-replayed"] == "true"
    assert events(lockgate, review).count("information_given") == 2


def test_nobody_else_sees_a_question_or_answers_it(lockgate: Lockgate) -> None:
    """404 as where there is nothing, and nothing of it on record."""
    review = held(lockgate)
    asked = question(lockgate, review)
    for who in ("bob", "mia"):
        assert (look(lockgate, review, who).status, say(lockgate, review, "mine", asked["if_match"], who).status) == (404, 404)
    assert say(lockgate, "nothing", "mine", asked["if_match"]).status == 404
    assert lockgate.ask(None, "POST", f"/.lockgate/reviews/{review}", "x", if_match=asked["if_match"]).status in (401, 404)
    assert events(lockgate, review) == ["held", "information_asked"]


@pytest.mark.parametrize("end", ["nothing", "rejected", "done"])
def test_where_nothing_is_asked_nothing_is_answered(lockgate: Lockgate, end: str) -> None:
    """Before a question and after the end: 409, with the reason."""
    review = held(lockgate)
    if end == "rejected":
        lockgate.control("POST", f"/v1/reviews/{review}/reject", {"comment": "no"}, who="max")
    elif end == "done":
        approve(lockgate, review)
        state_of(lockgate, review, "done")
    answer = say(lockgate, review, "late", '"1"')
    assert (answer.status, answer.code) == (409, "review_not_pending")
    assert "information_given" not in events(lockgate, review)


@pytest.mark.parametrize(
    ("body", "fields", "status", "code"),
    [
        ("late", {}, 428, "if_match_missing"),
        ("late", {"if-match": "*"}, 400, "request_invalid"),
        ("late", {"if-match": 'W/"2"'}, 400, "request_invalid"),
        ("late", {"if-match": '"2"', "idempotency-key": "k" * 256}, 400, "request_invalid"),
        ("x" * 40_000, {"if-match": '"2"'}, 413, "body_too_large"),
        ("x" * 4_001, {"if-match": '"2"'}, 422, "request_invalid"),
        ("  ", {"if-match": '"2"'}, 422, "request_invalid"),
        (b"", {"if-match": '"2"', "content-type": "text/plain"}, 422, "request_invalid"),
        ({"text": "a", "more": 1}, {"if-match": '"2"'}, 422, "request_invalid"),
        ({"text": 1}, {"if-match": '"2"'}, 422, "request_invalid"),
        (b'{"text": "a", "text": "b"}', {"if-match": '"2"', "content-type": "application/json"}, 422, "request_invalid"),
        (b'"a"', {"if-match": '"2"', "content-type": "application/json"}, 422, "request_invalid"),
        (b"\xff", {"if-match": '"2"', "content-type": "text/plain"}, 422, "request_invalid"),
        (b"text=a", {"if-match": '"2"', "content-type": "application/x-www-form-urlencoded"}, 415, "answer_media_type"),
        ("late", {"if-match": '"2"', "sec-fetch-site": "cross-site"}, 403, "cors_refused"),
        ("late", {"if-match": '"2"', "origin": "https://evil.example"}, 403, "cors_refused"),
        ("late", {"if-match": '"2"', "origin": "null", "sec-fetch-site": "same-origin"}, 403, "cors_refused"),
    ],
)
def test_what_is_no_answer_is_refused(lockgate: Lockgate, body: Any, fields: dict[str, str], status: int, code: str) -> None:
    """In one sentence, before anybody looks whose request it is."""
    answer = lockgate.ask("ann", "POST", "/.lockgate/reviews/nothing", body, **fields)
    assert (answer.status, answer.code) == (status, code)


def test_the_description_is_an_openapi_document() -> None:
    """Of these paths, for who generates clients."""
    validate(OWN)


def test_other_methods_are_named(lockgate: Lockgate) -> None:
    """405 with those that there are; of what only tells, without POST."""
    put = lockgate.ask("ann", "PUT", "/.lockgate/reviews/nothing", "x")
    assert (put.status, put.fields["allow"]) == (405, "GET, HEAD, POST")
    assert lockgate.ask("ann", "POST", "/.lockgate/deliveries/nothing", "x").fields["allow"] == "GET, HEAD"


def test_personal_data_of_an_answer_is_masked(lockgate: Lockgate) -> None:
    """As of the request's text; what was said is in its record, under the key of who asked."""
    review = held(lockgate)
    asked = question(lockgate, review, "Which account?")
    said = "DE89370400440532013000, mail zoe@example.com"
    assert say(lockgate, review, said, asked["if_match"]).status == 200
    seen = shown(lockgate, review)
    assert "DE89370400440532013000" not in json.dumps(seen)
    assert "zoe@example.com" not in json.dumps(seen)
    (told,) = seen["request"]["information"]
    assert told["masked"] is True
    record = lockgate.control("GET", f"/v1/audit/decisions/{review}?personal=true").json
    assert said in json.dumps(record)


def test_who_waits_hears_that_something_is_asked(lockgate: Lockgate) -> None:
    """On the request itself with 202, at once; at its place with the question."""
    review, waiting = waits_for(lockgate, lambda: lockgate.ask("ann", "POST", "/pay/1", {"amount": 5}, Prefer="wait=15"))
    question(lockgate, review)
    assert (waiting.result(timeout=10).status, waiting.result().fields["location"]) == (202, f"/.lockgate/reviews/{review}")
    lockgate.control("POST", f"/v1/reviews/{review}/reject", {"comment": "no"}, who="max")
