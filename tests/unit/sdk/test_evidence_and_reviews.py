"""What a service says afterwards, and how it waits for people."""

from __future__ import annotations

from typing import Any

import pytest

from lockgate.client import Event, EvidenceRefused, EvidenceUnavailable, ReviewEnded, ReviewPending, ReviewUnavailable
from tests.unit.sdk.both import KINDS, Blocking
from tests.unit.sdk.peer import Say, drop, http, nobody, peer

ID = "019ab9d0-1111-7000-8000-000000000001"
RECEIPT = {"events": [{"source": "till", "id": f"{ID}/completed", "record": 7, "decision_id": ID, "reference": "decision"}]}


@pytest.fixture(params=KINDS, ids=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> type:
    return request.param


def client(kind: type, control: str, **settings: Any) -> Blocking:
    return Blocking(kind, nobody(), control_url=control, control_key="k2", api_key="k1", **settings)


def standing(state: str) -> bytes:
    return http(200, {"id": ID, "state": state, "created": "", "expires": "2026-11-30T00:00:00Z", "approvals": 0, "quorum": 1, "new": 1})


def problem(status: int, code: str) -> bytes:
    return http(status, {"status": status, "code": code, "detail": "Not so."})


def test_an_event_is_sent_until_it_is_recorded(kind: type) -> None:
    """A connection that breaks is no reason to stop: sent once more, unchanged, it is recorded once. It goes with the control key."""
    with peer(drop, http(503), http(201, RECEIPT)) as server:
        receipt = client(kind, server.url).report(ID, source="till", kind="com.example.paid", data={"amount": 5})
        assert (receipt.record, receipt.reference) == (7, "decision")
        assert server.questions == [server.questions[0]] * 3
        (event,) = server.questions[0]
        assert event == {
            "specversion": "1.0",
            "id": f"{ID}/completed",
            "source": "till",
            "type": "com.example.paid",
            "lockgatedecision": ID,
            "lockgatephase": "completed",
            "data": {"amount": 5},
        }
        assert server.fields()["authorization"] == "Bearer k2"
        assert server.fields()["content-type"] == "application/cloudevents-batch+json"


@pytest.mark.parametrize(
    ("says", "error", "code"),
    [
        ([problem(409, "evidence_conflict")], EvidenceRefused, "evidence_conflict"),
        ([problem(422, "evidence_invalid")], EvidenceRefused, "evidence_invalid"),
        ([problem(403, "permission_missing")], EvidenceUnavailable, "permission_missing"),
        ([problem(503, "audit_unavailable")], EvidenceUnavailable, "audit_unavailable"),
        ([http(201, {"events": []})], EvidenceUnavailable, "malformed"),
        ([http(201, {"events": [{"source": "till"}]})], EvidenceUnavailable, "malformed"),
        ([drop], EvidenceUnavailable, "interrupted"),
    ],
)
def test_what_is_not_recorded_has_a_name(kind: type, says: list[Say], error: type[Exception], code: str) -> None:
    """Refused for good, or to be sent again."""
    with peer(*says) as server, pytest.raises((EvidenceRefused, EvidenceUnavailable)) as caught:
        client(kind, server.url).report(ID, source="till", kind="com.example.paid")
    assert (type(caught.value), caught.value.code) == (error, code)


def test_evidence_needs_a_place(kind: type) -> None:
    """A client that was not told where it goes says so."""
    with pytest.raises(EvidenceUnavailable, match="control_url"):
        Blocking(kind, nobody()).report(ID, source="till", kind="paid")


def test_a_batch_is_bounded_and_json(kind: type) -> None:
    """As the server takes it; nothing is cut off."""
    with peer(http(201)) as server:
        asked = client(kind, server.url)
        for events in ([], [Event("s", str(number), "t", ID) for number in range(101)], [Event("s", "1", "t", ID, data=object())]):
            with pytest.raises(EvidenceRefused):
                asked.send(events)
        with pytest.raises(EvidenceRefused, match="no phase"):
            asked.report(ID, source="s", kind="t", phase="done")
        assert server.asked == []


def test_an_approval_ends_the_waiting(kind: type) -> None:
    """Meanwhile a server that is away for a moment does not end it."""
    with peer(standing("pending"), drop, http(503), standing("approved"), standing("released")) as server:
        review = client(kind, server.url, attempts=1).wait(ID, timeout=10, every=0.001)
        assert (review.released, review.expires, len(server.asked)) == (True, "2026-11-30T00:00:00Z", 5)
        assert server.asked[0][0].startswith(f"GET /v1/reviews/{ID}/state HTTP/1.1")


def test_without_a_control_url_the_server_waits_where_decisions_are_asked_for(kind: type) -> None:
    """With the key that decisions are asked for with; for as long as it may, and then again."""
    with peer(standing("pending"), standing("released")) as server:
        review = Blocking(kind, server.url, api_key="mine").wait(ID, timeout=9.5, every=0.001)
        assert review.released
        for asked, _ in server.asked:
            assert asked.startswith(f"GET /v1/decide/{ID} HTTP/1.1")
            assert "authorization: bearer mine" in asked.lower()
            assert "prefer: wait=9\r\n" in asked.lower()
    with peer(standing("pending")) as server:
        assert Blocking(kind, server.url).review(ID).waiting
        assert "prefer" not in server.asked[0][0].lower()


@pytest.mark.parametrize("state", ["rejected", "expired", "failed", "something_new"])
def test_what_is_not_released_lets_nothing_be_done(kind: type, state: str) -> None:
    """Also a state that this client does not know."""
    with peer(standing("pending"), standing(state)) as server, pytest.raises(ReviewEnded) as caught:
        client(kind, server.url).wait(ID, timeout=10, every=0.001)
    assert caught.value.review.state == state


def test_waiting_has_an_end(kind: type) -> None:
    """Nobody decided: the request is still held, and it can be waited for again."""
    with peer(standing("pending")) as server, pytest.raises(ReviewPending) as caught:
        client(kind, server.url).wait(ID, timeout=0.02, every=0.001)
    assert caught.value.review.waiting
    with peer(drop) as server, pytest.raises(ReviewUnavailable) as lost:
        client(kind, server.url).wait(ID, timeout=0.02, every=0.001)
    assert lost.value.code == "interrupted"


@pytest.mark.parametrize(("says", "code"), [(problem(404, "review_not_found"), "review_not_found"), (http(200, b"{}"), "malformed")])
def test_where_it_stands_may_not_be_told(kind: type, says: Say, code: str) -> None:
    """A held request that is none is not waited for."""
    with peer(says) as server:
        for ask in (lambda one: one.review(ID), lambda one: one.wait(ID, timeout=10)):
            with pytest.raises(ReviewUnavailable) as caught:
                ask(client(kind, server.url))
            assert caught.value.code == code


def test_an_id_cannot_lead_elsewhere(kind: type) -> None:
    """Whatever a caller gives as one."""
    with peer(http(404)) as server:
        with pytest.raises(ReviewUnavailable):
            client(kind, server.url).review("../keys?x=1#")
        assert server.asked[0][0].startswith("GET /v1/reviews/..%2Fkeys%3Fx%3D1%23/state ")
