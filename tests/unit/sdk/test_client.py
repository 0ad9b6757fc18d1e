"""Both clients against a server that answers what a test wrote down: whatever is no decision to go ahead is an exception with a name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lockgate.client import (
    Abstained,
    AsyncClient,
    Client,
    CredentialRefused,
    DecisionUnavailable,
    Denied,
    Held,
    NoDecision,
    RateLimited,
    Refusal,
    RequestRefused,
    Subject,
    Unfulfilled,
)
from tests.unit.sdk.both import KINDS, Blocking
from tests.unit.sdk.peer import DECISION, Reply, Say, dribble, drop, ended, hang, http, nobody, peer, told

KEY = "lgk_abcdefgh_" + "s" * 43


@pytest.fixture(params=KINDS, ids=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> type:
    return request.param


def problem(status: int, code: str, **fields: str) -> bytes:
    body = {"type": f"urn:lockgate:problem:{code}", "status": status, "code": code, "title": "No", "detail": "Not so."}
    return http(status, body, content_type="application/problem+json", **fields)


def test_a_decision_is_a_value(kind: type) -> None:
    """With what a service acts on, under names that are checked; the rest is in `raw`, and a field that is new harms nothing."""
    with peer(told(novelty={"a": 1})) as server:
        decision = Blocking(kind, server.url, api_key=KEY).decide(text="pay 5", subject=Subject("anna", roles=("clerk",)))
    assert (decision.id, decision.allowed, decision.intent, decision.confidence) == (DECISION["id"], True, "pay", 0.9)
    assert (decision.subject, decision.risk.level, decision.route.name, decision.reasons) == ("anna", "low", "plain", ("rbac.granted",))
    assert decision.raw["novelty"] == {"a": 1}
    assert decision.enforce() is decision
    assert server.fields()["authorization"] == f"Bearer {KEY}"
    (asked,) = server.questions
    assert asked["subject"] == {"id": "anna", "type": "user", "roles": ["clerk"], "groups": [], "tenant": None, "claims": {}}
    assert (asked["text"], asked["method"], asked["path"], "hold" in asked) == ("pay 5", "POST", "/", False)


@pytest.mark.parametrize(
    ("answer", "error", "code"),
    [
        (ended("denied", 403, "rbac.no_grant", "deny"), Denied, "rbac.no_grant"),
        (ended("held", 202, "risk.high", "review"), Held, "risk.high"),
        (ended("abstained", 422, "ambiguous", "allow"), Abstained, "ambiguous"),
        (ended("something_new", 403, "why", "allow"), Denied, "why"),
    ],
)
def test_what_is_not_to_go_ahead_is_raised(kind: type, answer: bytes, error: type[Refusal], code: str) -> None:
    """With the decision. A result that this client does not know lets nothing be done."""
    with peer(answer) as server, pytest.raises(error) as caught:
        Blocking(kind, server.url).require(text="x")
    assert (caught.value.code, str(caught.value), caught.value.decision.id) == (code, "Not so.", DECISION["id"])
    assert not caught.value.decision.allowed


def test_an_obligation_that_nobody_fulfils_is_a_refusal(kind: type) -> None:
    """Those that Lockgate fulfilled are none of ours; one with a name that is new is."""
    names = ("tag", "mask_body", "something_new")
    verdict = {**DECISION["verdict"], "obligations": [{"name": name, "params": {}} for name in names]}
    with peer(told(verdict=verdict)) as server:
        client = Blocking(kind, server.url)
        with pytest.raises(Unfulfilled) as caught:
            client.require(text="x", fulfils=("mask_body",))
        assert caught.value.obligations == ("something_new",)
        assert client.require(text="x", fulfils=names).allowed


@pytest.mark.parametrize(
    ("says", "error", "code"),
    [
        ([hang], DecisionUnavailable, "timeout"),
        ([dribble], DecisionUnavailable, "timeout"),
        ([drop], DecisionUnavailable, "interrupted"),
        ([b"SSH-2.0-OpenSSH_9.2\r\n\r\n"], DecisionUnavailable, "interrupted"),
        ([http(200, b"<html>")], DecisionUnavailable, "malformed"),
        ([http(200, [])], DecisionUnavailable, "malformed"),
        ([http(200, b"[" * 100_000)], DecisionUnavailable, "malformed"),
        ([http(200, b"x" * (5 << 20))], DecisionUnavailable, "malformed"),
        ([told(version=2)], DecisionUnavailable, "malformed"),
        ([told(verdict={"effect": "deny", "reasons": [], "obligations": []})], DecisionUnavailable, "malformed"),
        ([told(verdict={"effect": "allow", "reasons": []})], DecisionUnavailable, "malformed"),
        ([told(classification={**DECISION["classification"], "confidence": 7})], DecisionUnavailable, "malformed"),
        ([told(outcome={})], DecisionUnavailable, "malformed"),
        ([told(route=None)], DecisionUnavailable, "malformed"),
        ([http(200, {name: value for name, value in DECISION.items() if name != "outcome"})], DecisionUnavailable, "malformed"),
        ([http(302, location="http://127.0.0.1:1/")], DecisionUnavailable, "server_error"),
        ([http(204)], DecisionUnavailable, "server_error"),
        ([problem(500, "internal")], DecisionUnavailable, "internal"),
        ([http(502, b"<html>bad gateway")], DecisionUnavailable, "server_error"),
        ([problem(503, "audit_unavailable")], DecisionUnavailable, "audit_unavailable"),
        ([problem(401, "credential_missing")], CredentialRefused, "credential_missing"),
        ([problem(403, "scope_missing")], CredentialRefused, "scope_missing"),
        ([problem(400, "ambiguous_path")], RequestRefused, "ambiguous_path"),
        ([problem(413, "body_too_large")], RequestRefused, "body_too_large"),
        ([problem(429, "rate_limited", retry_after="60")], RateLimited, "rate_limited"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_no_decision_has_a_name(kind: type, says: list[Say], error: type[NoDecision], code: str) -> None:
    """Whatever the server, or what pretends to be one, does: it ends in time, in an exception, and never in a decision."""
    seconds = 0.3 if code == "timeout" else 20.0
    with peer(*says) as server, pytest.raises(NoDecision) as caught:
        Blocking(kind, server.url, timeout=seconds).decide(text="x")
    assert (type(caught.value), caught.value.code) == (error, code)


def test_nobody_at_the_door(kind: type) -> None:
    """Without a connection nothing was sent, and that is said."""
    with pytest.raises(DecisionUnavailable) as caught:
        Blocking(kind, nobody()).decide(text="x")
    assert caught.value.code == "unreachable"


@pytest.mark.parametrize(("first", "key", "calls"), [(drop, None, 1), (drop, "k", 2), (http(502), None, 1), (http(504), "k", 2)])
def test_what_may_have_arrived_is_repeated_only_under_a_key(kind: type, first: Say, key: str | None, calls: int) -> None:
    """Else one question could be two decisions."""
    with peer(first, told()) as server:
        client = Blocking(kind, server.url)
        if calls == 1:
            with pytest.raises(DecisionUnavailable):
                client.decide(text="x", idempotency_key=key)
        else:
            assert client.decide(text="x", idempotency_key=key).allowed
        assert len(server.asked) == calls


def test_what_is_held_is_never_repeated(kind: type) -> None:
    """Reviewers would see it twice."""
    with peer(drop, told()) as server:
        with pytest.raises(DecisionUnavailable):
            Blocking(kind, server.url).decide(text="x", idempotency_key="k", hold=True)
        assert len(server.asked) == 1


@pytest.mark.parametrize("refusal", [problem(429, "rate_limited", retry_after="0"), problem(503, "starting"), http(503)])
def test_a_refusal_that_passes_is_waited_for(kind: type, refusal: bytes) -> None:
    """There was no decision, so that asking again is the same question; at most as often as was said."""
    with peer(refusal, refusal, told()) as server:
        assert Blocking(kind, server.url).decide(text="x").allowed
        assert len(server.asked) == 3
    with peer(refusal) as server:
        with pytest.raises(NoDecision):
            Blocking(kind, server.url, attempts=2).decide(text="x")
        assert len(server.asked) == 2


def test_a_wait_that_is_longer_than_the_time_is_not_begun(kind: type) -> None:
    """The caller hears at once, and for how long it would have been."""
    with peer(problem(429, "rate_limited", retry_after="3"), told()) as server, pytest.raises(RateLimited) as caught:
        Blocking(kind, server.url, timeout=2.5).decide(text="x")
    assert (caught.value.retry_after, caught.value.status, len(server.asked)) == (3.0, 429, 1)


@pytest.mark.parametrize("asked", [{"text": "a", "body": {}}, {"body": float("nan")}, {"body": object()}, {"body": {1: {2}}}])
def test_what_cannot_be_asked_is_not(kind: type, asked: Any) -> None:
    """Nothing of it is left out, and the server hears nothing."""
    with peer(told()) as server:
        with pytest.raises(RequestRefused):
            Blocking(kind, server.url).decide(**asked)
        assert server.asked == []


def failing() -> str:
    raise OSError("the vault said: s3cret")


@pytest.mark.parametrize("credential", ["", "two words", "new\r\nx-admin: 1", "ключ", failing, lambda: ""])
def test_a_credential_that_is_none_is_not_sent(kind: type, credential: Any) -> None:
    """And what is wrong with it is said without it."""
    with peer(told()) as server:
        with pytest.raises(CredentialRefused) as caught:
            Blocking(kind, server.url, api_key=credential).decide(text="x")
        assert (server.asked, caught.value.code) == ([], "credential_unusable")
        assert "s3cret" not in str(caught.value)


def test_a_credential_may_change(kind: type) -> None:
    """A function is asked for each call, so that tokens can run out."""
    tokens = iter(("first", "second"))
    with peer(problem(503, "starting"), told()) as server:
        Blocking(kind, server.url, api_key=lambda: next(tokens)).decide(text="x")
        assert [server.fields(place)["authorization"] for place in (0, 1)] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("url", ["", "127.0.0.1:8082", "ftp://127.0.0.1", "http://", "http://user:secret@127.0.0.1", "http://x/?key=1"])
def test_a_url_is_checked_when_it_is_given(url: str) -> None:
    """Not at the first request; and a password in it would be in every message."""
    for kind in KINDS:
        with pytest.raises(ValueError, match="The URL is"):
            kind(url)


def test_nothing_secret_is_shown() -> None:
    """Neither by the clients nor by what they make of a question and a decision."""
    for kind in (Client, AsyncClient):
        client = kind("http://127.0.0.1:1", api_key=KEY, control_key=KEY)
        assert KEY not in repr(client) + repr(client.settings) + str(vars(client.settings).keys())
    assert "ssn" not in repr(Subject("anna", claims={"ssn": "1"}))


def test_the_environment_names_no_proxy(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is decided about goes to the server that was named."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, nobody())
    with peer(told()) as server:
        assert Blocking(kind, server.url).decide(text="x").allowed


def test_threads_share_a_client() -> None:
    """Each gets its own answer."""
    echo = Reply(lambda question: told(subject={**DECISION["subject"], "id": question["text"]}))
    with peer(echo) as server, Client(server.url, timeout=20.0) as client, ThreadPoolExecutor(8) as pool:
        names = [str(number) for number in range(100)]
        assert [each.subject for each in pool.map(lambda name: client.decide(text=name), names)] == names


def test_the_trace_goes_on(kind: type) -> None:
    """The one that is given, else OpenTelemetry's current one."""
    given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    from opentelemetry import trace
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

    span = NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1)))
    with peer(told()) as server:
        client = Blocking(kind, server.url)
        client.decide(text="x", traceparent=given)
        with trace.use_span(span):
            client.decide(text="x")
        client.decide(text="x")
        found = [question.get("traceparent") for question in server.questions]
    assert found == [given, f"00-{0xABC:032x}-{0xDEF:016x}-01", None]
