"""What crosses to the upstream and back: nothing of one hop, nothing in our name but ours, no credential of ours."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decision import Classification, Status, Subject
from router.doors.forwarding import decision_headers, request_headers, response_headers
from router.doors.head import Head, read_head
from router.ports import Headers
from tests.unit.doors.parts import decision, scope

TRUSTED = (ip_network("203.0.113.0/24"),)


def read(*headers: tuple[str, str]) -> Head:
    return read_head(scope("/pay", *headers), TRUSTED, False)


def forwarded(*headers: tuple[str, str], trusted: bool = False, key: str | None = None, websocket: bool = False, **changes: Any) -> Headers:
    return request_headers(read(*headers), decision(**changes), trusted_peer=trusted, idempotency_key=key, websocket=websocket)


def values(headers: Headers, name: bytes) -> list[bytes]:
    return [value for field, value in headers if field == name]


@pytest.mark.parametrize(
    "name",
    [
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade",
        "expect", "authorization", "x-api-key", "forwarded", "x-real-ip", "content-length", "host",
    ],
)  # fmt: skip
def test_what_belongs_to_this_hop_stays_here(name: str) -> None:
    """Hop-by-hop fields, framing, and the credential that was shown to us do not cross."""
    assert values(forwarded((name, "chunked")), name.encode()) == []


def test_fields_that_connection_lists_stay_here() -> None:
    """RFC 9110 §7.6.1: a caller may declare more fields hop-by-hop, in any case."""
    headers = forwarded(("connection", "close, X-Private"), ("connection", "x-also"), ("x-private", "1"), ("x-also", "2"), ("x-kept", "3"))
    assert (values(headers, b"x-private"), values(headers, b"x-also"), values(headers, b"x-kept")) == ([], [], [b"3"])


def test_a_caller_cannot_take_our_fields_away() -> None:
    """Listing our names in Connection does not remove what we add."""
    headers = forwarded(("connection", "x-lockgate-subject, x-forwarded-for, traceparent"))
    assert values(headers, b"x-lockgate-subject") == [b"anonymous"]
    assert values(headers, b"x-forwarded-for") == [b"203.0.113.9"]
    assert len(values(headers, b"traceparent")) == 1


def test_other_fields_cross_in_order() -> None:
    """Everything else goes on as it came, repeated fields included."""
    headers = forwarded(("accept", "a"), ("cookie", "c"), ("accept", "b"), ("content-type", "application/json"))
    assert headers[:4] == [(b"accept", b"a"), (b"cookie", b"c"), (b"accept", b"b"), (b"content-type", b"application/json")]


def test_an_untrusted_peers_forwarding_is_dropped() -> None:
    """Only what we saw ourselves is said."""
    headers = forwarded(
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "evil"),
        ("x-forwarded-port", "1"),
        ("x-forwarded-prefix", "/admin"),
    )
    assert values(headers, b"x-forwarded-prefix") == []
    assert values(headers, b"x-forwarded-for") == [b"203.0.113.9"]
    assert values(headers, b"x-forwarded-proto") == [b"https"]
    assert values(headers, b"x-forwarded-host") == [b"halden.example"]
    assert values(headers, b"x-forwarded-port") == []


def test_a_trusted_peers_forwarding_is_continued() -> None:
    """Our hop is appended to the chain; scheme and host stay the caller's."""
    headers = forwarded(
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-for", "5.6.7.8"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "a"),
        trusted=True,
    )
    assert values(headers, b"x-forwarded-for") == [b"1.2.3.4, 5.6.7.8, 203.0.113.9"]
    assert values(headers, b"x-forwarded-proto") == [b"http"]
    assert values(headers, b"x-forwarded-host") == [b"a"]


def test_the_trace_goes_on_with_our_span() -> None:
    """The trace id is the caller's, the span ours, and there is one traceparent."""
    head = read(("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("tracestate", "a=1"))
    headers = request_headers(head, decision(), trusted_peer=False, idempotency_key=None)
    assert values(headers, b"traceparent") == [f"00-0af7651916cd43dd8448eb211c80319c-{head.trace.span_id}-01".encode()]
    assert values(headers, b"tracestate") == [b"a=1"]


def test_an_idempotency_key_is_added_once() -> None:
    """The caller's own key stays; ours is only for requests without one."""
    assert values(forwarded(key="d-1"), b"idempotency-key") == [b"d-1"]
    assert values(forwarded(("idempotency-key", "theirs"), key="d-1"), b"idempotency-key") == [b"theirs"]
    assert values(forwarded(), b"idempotency-key") == []


def test_a_websocket_handshake_is_made_anew() -> None:
    """The fields of the caller's handshake belong to its connection."""
    fields = [
        ("sec-websocket-key", "k"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-extensions", "e"),
        ("sec-websocket-protocol", "p"),
    ]
    assert [name for name, _ in forwarded(*fields, websocket=True) if name.startswith(b"sec-")] == []
    assert len([name for name, _ in forwarded(*fields) if name.startswith(b"sec-")]) == 4


def test_the_upstream_hears_what_was_decided() -> None:
    """Decision, risk, intent, confidence, route and subject."""
    subject = Subject("ada", "user", ("clerk", "lead, eu"), tenant="halden")
    assert dict(decision_headers(decision(subject=subject))) == {
        b"x-lockgate-decision-id": b"d-1",
        b"x-lockgate-risk": b"medium",
        b"x-lockgate-intent": b"cancel_payment",
        b"x-lockgate-confidence": b"0.9877",
        b"x-lockgate-route": b"pay",
        b"x-lockgate-subject": b"ada",
        b"x-lockgate-subject-type": b"user",
        b"x-lockgate-roles": b"clerk,lead%2C eu",
        b"x-lockgate-tenant": b"halden",
    }


def test_what_was_not_decided_is_not_said() -> None:
    """Without intent, confidence, route, roles or tenant there are no such fields."""
    names = {name for name, _ in decision_headers(decision(classification=Classification(Status.SKIPPED), route=None))}
    assert names == {b"x-lockgate-decision-id", b"x-lockgate-risk", b"x-lockgate-subject", b"x-lockgate-subject-type"}


@given(st.text(st.characters(codec=None), max_size=30), st.lists(st.text(st.characters(codec=None), max_size=10), max_size=3))
def test_no_subject_breaks_out_of_its_field(name: str, roles: list[str]) -> None:
    """Whatever an identity provider calls people, fields stay printable ASCII and lists keep their length."""
    headers = dict(decision_headers(decision(subject=Subject(name, "user", tuple(roles)))))
    assert all(0x20 <= byte < 0x7F for value in headers.values() for byte in value)
    if roles:
        assert len(headers[b"x-lockgate-roles"].split(b",")) == len(roles)


def test_an_upstream_cannot_speak_in_our_name() -> None:
    """Its `x-lockgate-*` and hop-by-hop fields are dropped, whatever their case; ours says which decision this was."""
    upstream = [
        (b"Content-Type", b"text/plain"),
        (b"Date", b"Tue, 24 Nov 2026 10:58:33 GMT"),
        (b"X-Lockgate-Decision-Id", b"forged"),
        (b"Connection", b"X-Private"),
        (b"x-private", b"1"),
        (b"Transfer-Encoding", b"chunked"),
        (b"set-cookie", b"a"),
        (b"set-cookie", b"b"),
    ]
    assert response_headers(upstream, decision(), 200) == [
        (b"Content-Type", b"text/plain"),
        (b"Date", b"Tue, 24 Nov 2026 10:58:33 GMT"),
        (b"set-cookie", b"a"),
        (b"set-cookie", b"b"),
        (b"x-lockgate-decision-id", b"d-1"),
    ]


@pytest.mark.parametrize(("status", "kept"), [(200, [b"9"]), (206, [b"9"]), (404, [b"9"]), (204, []), (304, [])])
def test_a_length_is_told_of_what_has_a_body(status: int, kept: list[bytes]) -> None:
    """RFC 9110 §8.6: of no content a 204 may say no length, and a 304 need not."""
    upstream = [(b"Content-Length", b"9"), (b"etag", b"x")]
    assert values([(name.lower(), value) for name, value in response_headers(upstream, decision(), status)], b"content-length") == kept


def test_a_response_without_a_date_gets_one() -> None:
    """RFC 9110 §6.6.1: the upstream's Date is passed on, and only where it is missing is ours added."""
    assert parsedate_to_datetime(dict(response_headers([], decision(), 200))[b"date"].decode()).utcoffset() is not None
