"""What the gateway passes on, keeps back and adds, seen from both ends."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.e2e.running import Lockgate
from tests.e2e.wire import closing_connection, is_closed, opened, raw, read, said

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


def test_a_granted_request_is_answered_by_the_service(lockgate: Lockgate) -> None:
    """A request that a rule decides and a role grants reaches the service as it was sent, and the service's answer comes back."""
    answer = lockgate.ask("ann", "POST", "/echo/some/path?a=1&b=%20", {"n": 1})
    assert answer.status == 200
    assert answer.json["method"] == "POST"
    assert answer.json["target"] == "/echo/some/path?a=1&b=%20"
    assert answer.json["body_bytes"] == len(b'{"n": 1}')


def test_the_decision_id_names_the_record(lockgate: Lockgate) -> None:
    """The decision id of the answer is the one that the service was told and that the ledger has, with decision before outcome."""
    answer = lockgate.ask("ann", "GET", "/items/7")
    assert UUID.fullmatch(answer.decision)
    assert dict(answer.json["headers"])["x-lockgate-decision-id"] == answer.decision
    assert lockgate.outcome(answer.decision)["result"] == "routed"
    decision, outcome = lockgate.story(answer.decision)
    assert (decision["schema"], outcome["schema"]) == ("lockgate.decision.v1", "lockgate.outcome.v1")
    assert decision["classification"]["intent"] == "look"
    assert decision["classification"]["tier"] == "rule"


def test_own_headers_from_a_client_go_nowhere(lockgate: Lockgate) -> None:
    """`x-lockgate-*` that a client sends, in any spelling, is not what the service sees."""
    forged = {"X-Lockgate-Subject": "root", "x_lockgate_roles": "admin", "X-LOCKGATE-Made-Up": "1"}
    head = "".join(f"{name}: {value}\r\n" for name, value in forged.items())
    request = f"GET /echo/x HTTP/1.1\r\nhost: yard\r\nauthorization: Bearer {lockgate.keys['ann']}\r\nconnection: close\r\n{head}\r\n"
    seen = raw(lockgate.gateway, request.encode()).json["headers"]
    assert [value for name, value in seen if name == "x-lockgate-subject"] == ["ann"]
    assert [value for name, value in seen if name.replace("_", "-") == "x-lockgate-roles"] == ["employee"]
    assert "x-lockgate-made-up" not in dict(seen)


def test_a_service_cannot_speak_in_our_name(lockgate: Lockgate) -> None:
    """`x-lockgate-*` and hop-by-hop fields of a service's answer are dropped, listed ones included; others pass."""
    answer = lockgate.ask("ann", "GET", "/forge/x")
    assert answer.status == 200
    assert [value for name, value in answer.headers if name == "x-lockgate-decision-id"] == [answer.decision]
    assert UUID.fullmatch(answer.decision)
    assert "x-lockgate-subject" not in answer.fields
    assert "x-secret-hop" not in answer.fields
    assert "keep-alive" not in answer.fields
    assert answer.fields["x-kept"] == "yes"


def test_the_credential_stays_here(lockgate: Lockgate) -> None:
    """Neither form of API key reaches the service."""
    one = lockgate.ask("ann", "GET", "/echo/x")
    other = lockgate.ask(None, "GET", "/echo/x", x_api_key=lockgate.keys["ann"])
    assert one.status == other.status == 200
    for answer in (one, other):
        assert not {"authorization", "x-api-key"} & set(dict(answer.json["headers"]))
        assert lockgate.keys["ann"] not in answer.body.decode()


def test_hop_by_hop_fields_end_here(lockgate: Lockgate) -> None:
    """What belongs to one connection, and what `Connection` lists, is not passed on."""
    fields = {"connection": "close, x-mine", "x_mine": "1", "te": "trailers", "proxy_authorization": "Basic eA==", "x_passes": "yes"}
    seen = dict(lockgate.ask("ann", "GET", "/echo/x", **fields).json["headers"])
    assert not {"x-mine", "te", "proxy-authorization"} & set(seen)
    assert seen["x-passes"] == "yes"


def test_forwarding_fields_say_what_was_seen(lockgate: Lockgate) -> None:
    """X-Forwarded-* of a caller that is no trusted proxy are replaced by what we know ourselves."""
    answer = lockgate.ask(
        "ann", "GET", "/echo/x", x_forwarded_for="6.6.6.6", x_forwarded_proto="gopher", forwarded="for=6.6.6.6", x_real_ip="6.6.6.6"
    )
    seen = dict(answer.json["headers"])
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert seen["x-forwarded-proto"] == "http"
    assert seen["x-forwarded-host"] == f"127.0.0.1:{lockgate.gateway}"
    assert not {"forwarded", "x-real-ip"} & set(seen)


def test_the_trace_goes_on(lockgate: Lockgate) -> None:
    """A caller's trace id reaches the service under a span of our own, and stands in the record; whether it is sampled is ours to say."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = lockgate.ask("ann", "GET", "/echo/x", traceparent=f"00-{trace}-00f067aa0ba902b7-01", tracestate="a=b")
    seen = dict(answer.json["headers"])
    version, trace_id, span, flags = seen["traceparent"].split("-")
    assert (version, trace_id) == ("00", trace)
    assert flags in ("00", "01")
    assert span != "00f067aa0ba902b7"
    assert seen["tracestate"] == "a=b"
    assert lockgate.story(answer.decision)[0]["request"]["trace"]["trace_id"] == trace


def test_head_has_no_body(lockgate: Lockgate) -> None:
    """The answer to HEAD tells the length of a body that it has not, and the connection goes on."""
    with closing_connection(lockgate.gateway) as connection:
        for _ in range(2):
            connection.request("HEAD", "/echo/x", headers={"authorization": f"Bearer {lockgate.keys['ann']}"})
            answer = read(connection.getresponse())
            assert (answer.status, answer.body) == (200, b"")
            assert int(answer.fields["content-length"]) > 100


@pytest.mark.parametrize("length", ["", "?1234", "?0", "?1000000"])
@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_has_none(lockgate: Lockgate, status: int, length: str) -> None:
    """204 and 304 pass without a body, also with the length of one that they have not, and the connection goes on."""
    with closing_connection(lockgate.gateway) as connection:
        for _ in range(2):
            connection.request("GET", f"/nothing/{status}{length}", headers={"authorization": f"Bearer {lockgate.keys['ann']}"})
            answer = read(connection.getresponse())
            assert (answer.status, answer.body, answer.fields["etag"]) == (status, b"", '"x"')
            outcome = lockgate.outcome(answer.decision)
            assert (outcome["result"], outcome["status"]) == ("routed", status)


@pytest.mark.parametrize("status", [600, 999])
def test_a_status_that_is_none_is_a_bad_gateway(lockgate: Lockgate, status: int) -> None:
    """Nobody can be told such a status: the caller hears of a server's error, and the connection goes on."""
    with closing_connection(lockgate.gateway) as connection:
        for _ in range(2):
            connection.request("GET", f"/nothing/{status}?0", headers={"authorization": f"Bearer {lockgate.keys['ann']}"})
            answer = read(connection.getresponse())
            assert (answer.status, answer.code) == (502, "upstream_protocol")
            outcome = lockgate.outcome(answer.decision)
            assert (outcome["result"], outcome["status"], outcome["reason"]) == ("failed", 502, "upstream_protocol")


def test_a_caller_may_wait_to_be_asked_for_its_body(lockgate: Lockgate) -> None:
    """`Expect: 100-continue` is answered here and not passed on."""
    with opened(lockgate.gateway) as connection:
        fields = ("POST /echo/x HTTP/1.1", "host: yard", f"authorization: Bearer {lockgate.keys['ann']}", "content-length: 4")
        connection.sendall("\r\n".join((*fields, "expect: 100-continue", "", "")).encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"body")
        answer = said(connection)
    assert (answer.status, answer.json["body_bytes"]) == (200, 4)
    assert "expect" not in dict(answer.json["headers"])


def test_http_1_0_is_served_and_ended(lockgate: Lockgate) -> None:
    """An old client without Host gets its answer and the end of the connection."""
    with opened(lockgate.gateway) as connection:
        connection.sendall(f"GET /echo/x HTTP/1.0\r\nauthorization: Bearer {lockgate.keys['ann']}\r\n\r\n".encode())
        assert said(connection).status == 200
        assert is_closed(connection)


def test_the_other_client_does_the_same(start: Callable[..., Lockgate]) -> None:
    """With `client: aiohttp` requests pass, streams stream and what breaks is told as broken."""
    lockgate = start(gateway={"client": "aiohttp"})
    answer = lockgate.ask("ann", "POST", "/echo/x?a=%20", {"n": 1})
    assert (answer.status, answer.json["target"]) == (200, "/echo/x?a=%20")
    with closing_connection(lockgate.gateway) as connection:
        connection.request("GET", "/events/x", headers={"authorization": f"Bearer {lockgate.keys['ann']}"})
        events = connection.getresponse()
        assert events.readline() == b"data: first\n"
        lockgate.release()
        assert events.read() == b"\ndata: second\n\n"
    assert lockgate.ask("ann", "GET", "/babble/x").status == 502
    assert lockgate.ask("ann", "GET", "/lonely/x").status == 502


def test_a_request_without_a_grant_reaches_nothing(lockgate: Lockgate) -> None:
    """Denied by policy: 403 with the reason and the decision id, and the service hears nothing."""
    answer = lockgate.ask("eve", "GET", "/items/7")
    assert (answer.status, answer.code) == (403, "rbac.no_grant")
    assert answer.json["decision_id"] == answer.decision
    assert lockgate.arrivals() == []
    assert lockgate.story(answer.decision)[0]["outcome"]["result"] == "denied"


def test_an_unknown_caller_reaches_nothing(lockgate: Lockgate) -> None:
    """Without a credential, and with one that nobody has: 401 and a challenge, and the service hears nothing."""
    missing = lockgate.ask(None, "GET", "/items/7")
    unknown = lockgate.ask(None, "GET", "/items/7", authorization="Bearer lgk_00000000_" + "A" * 43)
    assert (missing.status, missing.code) == (401, "credential_missing")
    assert (unknown.status, unknown.code) == (401, "credential_unknown")
    assert missing.fields["www-authenticate"].startswith("Bearer")
    assert lockgate.arrivals() == []


def test_an_unclassifiable_request_is_asked_back(lockgate: Lockgate) -> None:
    """A request that no rule knows, in a workspace without a classifier, is never sent to some first route."""
    answer = lockgate.ask("ann", "POST", "/nowhere", {"message": "do something"})
    assert (answer.status, answer.json["status_of_classification"]) == (422, "unavailable")
    assert answer.code
    assert lockgate.arrivals() == []


def test_a_service_that_is_down_is_a_502(lockgate: Lockgate) -> None:
    """Nobody listens behind the route: 502 with the decision id, and the outcome says failed."""
    answer = lockgate.ask("ann", "GET", "/lonely/x")
    assert answer.status in (502, 503)
    assert answer.code
    assert lockgate.outcome(answer.json["decision_id"])["result"] == "failed"


def test_a_service_that_speaks_no_http_is_a_502(lockgate: Lockgate) -> None:
    """An answer that is not HTTP, and none at all, are 502 and not a stack trace."""
    for path in ("/babble/x", "/deaf/x"):
        answer = lockgate.ask("ann", "GET", path)
        assert (answer.status, bool(answer.code)) == (502, True)
        assert lockgate.outcome(answer.decision)["result"] == "failed"
