"""Requests that policy holds for a person: nothing happens before somebody else says yes, and then it happens once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Any

import pytest

from tests.e2e.processes import until
from tests.e2e.running import Lockgate, company
from tests.e2e.wire import Answer, ask

Killed = tuple[Lockgate, Mapping[str, str]]


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


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killed]:
    """Three held requests when everything is killed with `kill -9`, by their path: one that waits for a person, and two that were
    approved and sent and not answered. Then Lockgate is started again."""
    with company(tmp_path_factory.mktemp("killed")) as lockgate:
        reviews = {path: held(lockgate, path) for path in ("/pay/1", "/later/1", "/once/1")}
        with ThreadPoolExecutor(2) as somebody:
            approving = [somebody.submit(approve, lockgate, reviews[path]) for path in ("/later/1", "/once/1")]
            until(lambda: lockgate.arrived("/later/1") and lockgate.arrived("/once/1"), "they had been sent")
            assert [shown(lockgate, reviews[path])["state"] for path in ("/later/1", "/once/1")] == ["dispatching"] * 2
            lockgate.process.kill()
            assert all(isinstance(each.exception(), OSError | HTTPException) for each in approving)
        lockgate.release()
        lockgate.start()
        yield lockgate, reviews


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


def test_nobody_approves_what_a_key_asked_that_they_made(lockgate: Lockgate) -> None:
    """Whoever makes a key has seen it, and could ask in another's name and say yes in their own. Who did not make it can."""
    wanted = {"name": "ann's other", "subject": "ann", "roles": ["employee"], "scopes": ["gateway"]}
    key = lockgate.control("POST", "/v1/keys", wanted, who="root").json["key"]
    answer = ask(lockgate.gateway, "POST", "/pay/1", key, {"amount": 5})
    assert answer.status == 202
    refused = approve(lockgate, answer.decision, who="root")
    assert (refused.status, refused.code) == (403, "self_approval")
    assert approve(lockgate, answer.decision).status == 200
    assert state_of(lockgate, answer.decision, "done")
    own = lockgate.ask("ann", "POST", "/pay/1", {"amount": 5})  # with a key that root did not make
    assert approve(lockgate, own.decision, who="root").status == 200


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


def test_what_is_held_survives_a_killed_machine(killed: Killed) -> None:
    """What waited for a person still does, and an approval then sends it once."""
    lockgate, reviews = killed
    assert shown(lockgate, reviews["/pay/1"])["state"] == "pending"
    assert approve(lockgate, reviews["/pay/1"]).status == 200
    state_of(lockgate, reviews["/pay/1"], "done")
    assert len(lockgate.arrived("/pay/1")) == 1


def test_a_kill_while_it_is_sent_sends_nothing_twice(killed: Killed) -> None:
    """What reached a service that cannot tell repeats is not sent again, and a person is told."""
    lockgate, reviews = killed
    assert state_of(lockgate, reviews["/later/1"], "uncertain")
    assert len(lockgate.arrived("/later/1")) == 1


def test_a_kill_while_it_is_sent_repeats_under_the_same_key(killed: Killed) -> None:
    """To a service that honours Idempotency-Key it is sent again under the same key, which is one effect there."""
    lockgate, reviews = killed
    assert state_of(lockgate, reviews["/once/1"], "done")
    keys = [dict(each["headers"])["idempotency-key"] for each in lockgate.arrived("/once/1")]
    assert keys == [reviews["/once/1"]] * 2
    assert lockgate.outcome(reviews["/once/1"])["result"] == "routed"


def test_the_trail_of_killed_reviews_is_whole(killed: Killed) -> None:
    """The ledger verifies over the kill and what was made good after it."""
    verified = killed[0].verify()
    assert verified.returncode == 0, verified.stdout
