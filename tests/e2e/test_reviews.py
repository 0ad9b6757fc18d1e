"""Requests that policy holds for a person: nothing happens before somebody else says yes, and then it happens once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Any

from tests.e2e.processes import until
from tests.e2e.running import Lockgate
from tests.e2e.wire import Answer

START = Callable[..., Lockgate]


def held(lockgate: Lockgate, path: str = "/pay/1", who: str = "ann") -> str:
    answer = lockgate.ask(who, "POST", path, {"amount": 5})
    assert answer.status == 202
    assert lockgate.arrived(path) == []
    return answer.decision


def shown(lockgate: Lockgate, review: str, who: str = "max") -> Any:
    return lockgate.control("GET", f"/v1/reviews/{review}", who=who).json


def approve(lockgate: Lockgate, review: str, who: str = "max") -> Answer:
    approval = {"comment": "looked at", "content_digest": shown(lockgate, review)["content_digest"]}
    return lockgate.control("POST", f"/v1/reviews/{review}/approve", approval, who=who)


def killed_while_sent(lockgate: Lockgate, path: str) -> str:
    """`kill -9` of everything between the approval and the service's answer. The held request's id."""
    review = held(lockgate, path)
    with ThreadPoolExecutor(1) as somebody:
        approving = somebody.submit(approve, lockgate, review)
        until(lambda: lockgate.arrived(path), "it had been sent")
        assert shown(lockgate, review)["state"] == "dispatching"
        lockgate.process.kill()
        assert isinstance(approving.exception(), OSError | HTTPException)
    return review


def state_of(lockgate: Lockgate, review: str, *wanted: str) -> str:
    return until(lambda: (found := shown(lockgate, review)["state"]) in wanted and str(found), f"the review was {' or '.join(wanted)}")


def test_a_held_request_waits_for_somebody_else(lockgate: Lockgate) -> None:
    """202, nothing at the service; approved by another it is sent once, as it was, under its decision's id; all of it is on record."""
    review = held(lockgate)
    assert approve(lockgate, review).status == 200
    assert state_of(lockgate, review, "done")
    (arrived,) = lockgate.arrived("/pay/1")
    fields = dict(arrived["headers"])
    assert (arrived["method"], arrived["body_bytes"]) == ("POST", len(b'{"amount": 5}'))
    assert (fields["x-lockgate-decision-id"], fields["x-lockgate-subject"]) == (review, "ann")
    assert arrived["recorded"] is True
    story = until(lambda: (found := lockgate.story(review))[-1]["schema"] == "lockgate.outcome.v1" and found, "its outcome was recorded")
    assert story[0]["outcome"]["result"] == "held"
    assert [leaf["event"] for leaf in story if leaf["schema"] == "lockgate.review.v1"][:2] == ["held", "approved"]
    assert story[-1]["outcome"]["result"] == "routed"


def test_nobody_approves_their_own(lockgate: Lockgate) -> None:
    """The one who asked is refused as approver, though a manager; the request goes on waiting."""
    review = held(lockgate, who="mia")
    answer = approve(lockgate, review, who="mia")
    assert (answer.status, answer.code) == (403, "self_approval")
    assert shown(lockgate, review)["state"] == "pending"
    assert lockgate.arrivals() == []


def test_a_rejected_request_is_never_sent(lockgate: Lockgate) -> None:
    """Rejection ends it: no later approval sends it."""
    review = held(lockgate)
    digest = shown(lockgate, review)["content_digest"]
    assert lockgate.control("POST", f"/v1/reviews/{review}/reject", {"comment": "no"}, who="max").status == 200
    late = lockgate.control("POST", f"/v1/reviews/{review}/approve", {"content_digest": digest}, who="max")
    assert (late.status, late.code) == (409, "review_not_pending")
    assert shown(lockgate, review)["state"] == "rejected"
    assert lockgate.arrivals() == []


def test_an_approval_is_for_what_was_seen(lockgate: Lockgate) -> None:
    """An approval that names another digest is refused."""
    review = held(lockgate)
    answer = lockgate.control("POST", f"/v1/reviews/{review}/approve", {"content_digest": "0" * 64}, who="max")
    assert (answer.status, answer.code) == (409, "content_changed")
    assert lockgate.arrivals() == []


def test_reading_and_deciding_need_their_permission(lockgate: Lockgate) -> None:
    """A key without the permission, and a caller's gateway key, can neither see nor decide about held requests."""
    review = held(lockgate)
    for who in ("idle", "ann"):
        assert lockgate.control("GET", "/v1/reviews", who=who).status == 403
        assert lockgate.control("POST", f"/v1/reviews/{review}/approve", {"content_digest": "0" * 64}, who=who).status == 403


def test_what_is_held_survives_a_killed_machine(start: START) -> None:
    """Held, then `kill -9` of everything: after the restart it still waits, and an approval sends it once."""
    lockgate = start()
    review = held(lockgate)
    lockgate.process.kill()
    lockgate.start()
    assert shown(lockgate, review)["state"] == "pending"
    approve(lockgate, review)
    state_of(lockgate, review, "done")
    assert len(lockgate.arrived("/pay/1")) == 1
    assert lockgate.verify().returncode == 0


def test_a_kill_while_it_is_sent_sends_nothing_twice(start: START) -> None:
    """`kill -9` after the approved request reached a service that cannot tell repeats: it is not sent again, and a person is told."""
    lockgate = start()
    review = killed_while_sent(lockgate, "/later/1")
    lockgate.start()
    assert state_of(lockgate, review, "uncertain")
    lockgate.release()
    assert len(lockgate.arrived("/later/1")) == 1
    assert lockgate.verify().returncode == 0


def test_a_kill_while_it_is_sent_repeats_under_the_same_key(start: START) -> None:
    """The same with a service that honours Idempotency-Key: it is sent again under the same key, which is one effect there."""
    lockgate = start()
    review = killed_while_sent(lockgate, "/once/1")
    lockgate.release()
    lockgate.start()
    assert state_of(lockgate, review, "done")
    keys = [dict(each["headers"])["idempotency-key"] for each in lockgate.arrived("/once/1")]
    assert len(keys) == 2
    assert set(keys) == {review}
    assert lockgate.outcome(review)["result"] == "routed"
    assert lockgate.verify().returncode == 0
