"""What the caller of a held request is told."""

from __future__ import annotations

import orjson
import pytest

from router.doors.held import LONGEST_PREFER, PREFERENCE, preferred_wait, tag, told
from router.review.packing import Answer
from router.review.standing import Standing
from tests.backtracking import LINEAR, growth

NS = 1_000_000_000
ANSWER = Answer(201, "text/plain", b"paid", True, ((b"content-type", b"text/plain"), (b"connection", b"x"), (b"x-lockgate-risk", b"low")))


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ([b"wait=10"], 10.0),
        ([b"Wait=10"], 10.0),
        ([b'wait="10"'], 10.0),
        ([b"respond-async, wait=10"], 10.0),
        ([b"respond-async", b"wait=10"], 10.0),
        ([b"handling=lenient; x=y, wait = 7"], 7.0),
        ([b"wait=10, wait=20"], 10.0),
        ([b"wait=9999999999999999999999"], 30.0),
        ([b"wait=31"], 30.0),
        ([b"wait"], 0.0),
        ([b"wait="], 0.0),
        ([b"wait=-1"], 0.0),
        ([b"wait=1.5"], 0.0),
        ([b"waiting=10"], 0.0),
        ([b"x-wait=10"], 0.0),
        ([b"\xff, wait=\xb2"], 0.0),
        ([], 0.0),
    ],
)
def test_a_preference_is_read_as_rfc_7240_has_it(fields: list[bytes], seconds: float) -> None:
    """No longer than may be; the first one counts, and what cannot be read is none."""
    assert preferred_wait([(b"prefer", each) for each in fields], 30.0) == seconds
    assert preferred_wait([(b"prefer", each) for each in fields], 0.0) == 0.0


def test_a_field_that_is_too_long_is_no_preference() -> None:
    """Others beside it are heard."""
    fits, long = (b"wait=3, ".ljust(length, b"a") for length in (LONGEST_PREFER, LONGEST_PREFER + 1))
    assert preferred_wait([(b"prefer", fits)], 30.0) == 3.0
    assert preferred_wait([(b"prefer", long)], 30.0) == 0.0
    assert preferred_wait([(b"prefer", long), (b"prefer", b"wait=4")], 30.0) == 4.0


@pytest.mark.parametrize("text", [" ", "\t", '"', 'a="', "a", "=", ",", "; "])
def test_nothing_of_a_preference_is_read_again_from_each_character(text: str) -> None:
    """Many spaces that no token follows were."""
    assert growth(PREFERENCE, text) < LINEAR


def test_what_waits_is_told_with_a_tag_and_when_to_ask_again() -> None:
    """And when it expires."""
    standing = Standing("pending", 3, 5 * NS)
    found = told(standing, "d1", NS, 0)
    fields = dict(found.headers)
    assert (found.status, fields[b"etag"], fields[b"x-lockgate-review"]) == (202, tag(standing), b"pending")
    assert fields[b"retry-after"] == b"5"
    assert orjson.loads(found.body or b"") == {"decision_id": "d1", "state": "pending", "expires": "1970-01-01T00:00:05Z"}


def test_an_answer_is_told_as_it_came() -> None:
    """Without what belongs to one hop, or speaks in our name."""
    found = told(Standing("done", 4, 0, 201, "", NS, ANSWER), "d1", NS, NS)
    assert (found.status, found.body) == (201, b"paid")
    assert found.headers == [(b"content-type", b"text/plain"), (b"x-lockgate-decision-id", b"d1"), (b"x-lockgate-review", b"done")]


@pytest.mark.parametrize(
    ("standing", "now_ns", "status", "code"),
    [
        (Standing("done", 4, 0, 201, "", NS, ANSWER), 3 * NS, 410, "answer_expired"),
        (Standing("done", 4, 0, 201, "", NS), NS, 410, "answer_expired"),
        (Standing("done", 4, 0, 201, "", NS, Answer(201, "", b"pa", False)), NS, 410, "answer_not_kept"),
        (Standing("rejected", 4, 0, 403, "review_rejected", NS), NS, 403, "review_rejected"),
        (Standing("expired", 4, 0, 403, "review_expired", NS), NS, 403, "review_expired"),
        (Standing("failed", 4, 0, 502, "connect_failed", NS), NS, 502, "connect_failed"),
        (Standing("uncertain", 4, 0, 502, "dispatch_uncertain", NS), NS, 502, "dispatch_uncertain"),
        (Standing("cancelled", 4, 0, 0, "", NS), NS, 409, "review_cancelled"),
    ],
)
def test_every_other_end_is_a_problem_with_its_reason(standing: Standing, now_ns: int, status: int, code: str) -> None:
    """That of the outcome on record, where there is one."""
    found = told(standing, "d1", 2 * NS, now_ns)
    problem = orjson.loads(found.body or b"")
    assert (found.status, problem["status"], problem["code"]) == (status, status, code)
    assert problem["decision_id"] == "d1"
