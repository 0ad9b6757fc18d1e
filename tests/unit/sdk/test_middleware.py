"""No request reaches an application without a decision, and what its caller hears is what the gateway would say."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import unquote

import pytest

from lockgate.asgi import AS_SERVICE, HeldRequest, Rule
from lockgate.client import AsyncClient, Subject
from lockgate.testing import Lockgate
from tests.unit.sdk.apps import app, ask
from tests.unit.sdk.peer import hang, http, nobody, peer


async def test_the_application_gets_the_request_and_the_decision(lockgate: Lockgate) -> None:
    """As it came, with the decision in its state, whose id the caller hears too; it was about the caller and not about the service."""
    made = app(lockgate.client)
    answer = await ask(made, "POST", "/echo/a%20b?q=1", content=b'{"amount": 5}', headers={"content-type": "application/json"})
    (recorded,) = lockgate.recorded
    found = answer.json()
    assert (answer.status_code, found["body"], found["decision"]) == (200, '{"amount": 5}', recorded.decision.id)
    assert (answer.headers["x-lockgate-decision-id"], found["headers"]["x-lockgate-decision-id"]) == (recorded.decision.id,) * 2
    asked = recorded.question
    assert (asked["method"], asked["path"], asked["query"], asked["body"]) == ("POST", "/echo/a%20b", "q=1", {"amount": 5})
    assert (asked["subject"]["id"], asked["host"], asked["client"]) == ("ann", "till.example", "192.0.2.7")
    assert asked["headers"]["content-type"] == "application/json"


async def test_what_is_denied_is_answered_as_the_gateway_does(lockgate: Lockgate) -> None:
    """The problem that came with the decision, word for word; the application sees nothing."""
    made = app(lockgate.client)
    answer = await ask(made, "GET", "/secret/x")
    (decision,) = lockgate.decisions
    assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")
    assert answer.json() == decision.problem
    assert (answer.headers["x-lockgate-decision-id"], answer.json()["decision_id"]) == (decision.id, decision.id)
    assert made.state.ran == []


async def test_what_is_not_understood_is_asked_back(lockgate: Lockgate) -> None:
    """Abstention has the gateway's status and words."""
    made = app(lockgate.client)
    answer = await ask(made, "POST", "/ask", content="what now?", headers={"content-type": "text/plain"})
    assert (answer.json(), answer.status_code) == (lockgate.decisions[0].problem, lockgate.decisions[0].outcome.status)  # type: ignore[union-attr]
    assert lockgate.decisions[0].abstained
    assert made.state.ran == []


async def test_nobody_is_401(lockgate: Lockgate) -> None:
    """A caller whom the application does not know is not decided about as if it were the service."""
    made = app(lockgate.client)
    answer = await ask(made, "GET", "/items/7", user=None)
    assert (answer.status_code, answer.json()["code"], answer.headers["www-authenticate"]) == (
        401,
        "credential_missing",
        'Bearer realm="lockgate"',
    )
    assert (made.state.ran, lockgate.recorded) == ([], [])


async def test_the_service_itself_has_to_be_named(lockgate: Lockgate) -> None:
    """On purpose, every decision is about the service; it has no rights here."""
    answer = await ask(app(lockgate.client, subject=AS_SERVICE), "GET", "/items/7", user=None)
    assert (answer.status_code, lockgate.decisions[0].subject) == (403, "service")


async def test_a_failing_subject_stops_the_request(lockgate: Lockgate) -> None:
    """The application's own function, asynchronous here, raises: nothing runs."""

    async def fails(_: object) -> Subject:
        raise OSError("directory is away")

    made = app(lockgate.client, subject=fails)
    assert (await ask(made, "GET", "/items/7")).status_code == 500
    assert made.state.ran == []


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b'{"a": 1, "a": 2}', {"content-type": "application/json"}, 400, "body_malformed"),
        (b'{"a": ', {"content-type": "application/json"}, 400, "body_malformed"),
        (b'{"a": NaN}', {"content-type": "application/json"}, 400, "body_malformed"),
        (b"[" * 100_000, {"content-type": "application/json"}, 400, "body_malformed"),
        (b"\xff", {"content-type": "text/plain"}, 400, "body_malformed"),
        (b"x", {"content-type": "text/plain; charset=utf-16"}, 415, "body_unseen"),
        (b"x", {"content-type": "text/plain", "content-encoding": "gzip"}, 415, "body_unseen"),
        (b"a=1", {"content-type": "application/x-www-form-urlencoded"}, 415, "body_unseen"),
        (b"x", {}, 415, "body_unseen"),
        (b"x" * 2000, {"content-type": "text/plain"}, 413, "body_too_large"),
    ],
)
async def test_a_body_that_nobody_could_judge_is_refused(
    lockgate: Lockgate, content: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    """Policy must not be shown another body than the application."""
    made = app(lockgate.client, max_body=1000 if status == 413 else 1 << 20)
    answer = await ask(made, "POST", "/echo/x", content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"], made.state.ran, lockgate.recorded) == (status, code, [], [])


async def test_a_body_without_an_end_is_bounded(lockgate: Lockgate) -> None:
    """Unannounced, it is counted; and what does not come in time is not waited for."""

    async def pieces() -> Any:
        for _ in range(20):
            yield b"x" * 100

    made = app(lockgate.client, max_body=1000)
    answer = await ask(made, "POST", "/echo/x", content=pieces(), headers={"content-type": "text/plain"})
    assert (answer.status_code, made.state.ran) == (413, [])

    async def slow() -> Any:
        yield b"x"
        await asyncio.sleep(30)

    answer = await ask(app(lockgate.client, body_timeout=0.02), "POST", "/echo/x", content=slow(), headers={"content-type": "text/plain"})
    assert (answer.status_code, answer.json()["code"]) == (408, "body_timeout")


async def test_a_caller_who_leaves_is_not_answered(lockgate: Lockgate) -> None:
    """Nothing is decided and nothing runs."""
    made, sent = app(lockgate.client), []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/echo/x", "query_string": b"", "headers": [(b"x-user", b"ann")], "app": made}
    await made(scope, receive, send)
    assert (sent, made.state.ran, lockgate.recorded) == ([], [], [])


async def test_a_rule_may_leave_bodies_unseen_or_paths_alone(lockgate: Lockgate) -> None:
    """Only where it is said; the application then gets the body as it came."""
    made = app(lockgate.client, rules=[Rule("/echo/*", unseen_bodies=True), Rule("/healthz", decide=False)])
    answer = await ask(made, "POST", "/echo/form", content=b"a=1", headers={"content-type": "application/x-www-form-urlencoded"})
    assert (answer.status_code, answer.json()["body"], "body" in lockgate.recorded[0].question) == (200, "a=1", False)
    answer = await ask(made, "GET", "/healthz", user=None)
    assert (answer.status_code, answer.json()["decision"], len(lockgate.recorded)) == (200, None, 1)
    assert (await ask(made, "GET", "/healthz/x", user=None)).status_code == 401


@pytest.mark.parametrize("path", ["/open/../items/7", "/open/./x", "/open/..%5Citems", "/open/%2e%2e/items/7"])
async def test_a_rule_lets_no_path_lead_elsewhere(lockgate: Lockgate, path: str) -> None:
    """Somebody behind may resolve it; it is decided about, and is none that Lockgate takes."""
    made = app(lockgate.client, rules=[Rule("/open/*", decide=False)])
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"x-user", b"ann")]
    scope = {"type": "http", "method": "GET", "path": unquote(path), "query_string": b"", "headers": headers, "app": made, "client": None}
    await made(scope, receive, send)
    assert (sent[0]["status"] >= 400, made.state.ran) == (True, [])
    scope["path"] = "/open/..."
    await made(scope, receive, send)
    assert made.state.ran == ["/open/..."]


@pytest.mark.parametrize("path", ["healthz", "/a*", "/*/b", ""])
def test_a_rule_that_is_none_is_refused(path: str) -> None:
    """When it is written, not when it should fit."""
    with pytest.raises(ValueError, match="is no path"):
        Rule(path)


async def test_headers_of_ours_are_nobody_elses(lockgate: Lockgate) -> None:
    """What a caller sends under such a name does not reach the application, also where nothing is decided."""
    made = app(lockgate.client, rules=[Rule("/open", decide=False)])
    forged = {"x-lockgate-decision-id": "forged", "x-lockgate-subject": "root"}
    for path in ("/items/7", "/open"):
        found = (await ask(made, "GET", path, headers=forged)).json()["headers"]
        assert "forged" not in found.values()
        assert "x-lockgate-subject" not in found


async def test_secrets_are_not_told(lockgate: Lockgate) -> None:
    """Only the named header fields are shown to policy."""
    await ask(app(lockgate.client), "GET", "/items/7", headers={"authorization": "Bearer s3cret", "cookie": "s3cret"})
    assert "s3cret" not in str(lockgate.recorded[0].question)


async def test_the_server_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """503 with a code that says so; the log says why; nothing runs, but on a path that was said to go on."""
    async with AsyncClient(nobody(), attempts=1) as client:
        made = app(client, rules=[Rule("/status/*", when_unavailable="let_pass_undecided")])
        answer = await ask(made, "GET", "/items/7")
        assert (answer.status_code, answer.json()["code"], "unreachable" in answer.json()["detail"]) == (503, "decision_unavailable", True)
        assert made.state.ran == []
        assert "cannot be reached" in caplog.text
        answer = await ask(made, "GET", "/status/7")
        assert (answer.status_code, answer.json()["decision"], "x-lockgate-decision-id" in answer.headers) == (200, None, False)
        assert "passes undecided" in caplog.text


@pytest.mark.parametrize(
    ("says", "status", "code"),
    [
        (hang, 503, "decision_unavailable"),
        (http(200, b"<html>"), 503, "decision_unavailable"),
        (http(500, {"code": "internal"}), 503, "decision_unavailable"),
        (http(503, {"code": "audit_unavailable"}), 503, "decision_unavailable"),
        (http(401, {"code": "credential_missing", "detail": "internal words"}), 503, "decision_unavailable"),
        (http(429, {"code": "rate_limited", "detail": "Too many requests."}, retry_after="7"), 429, "rate_limited"),
        (http(400, {"code": "ambiguous_path", "detail": "Two meanings."}), 400, "ambiguous_path"),
    ],
)
async def test_no_decision_is_no_request(says: Any, status: int, code: str) -> None:
    """What is the caller's doing is told as the gateway tells it; that our own credential is wrong is none of theirs."""
    with peer(says) as server:
        async with AsyncClient(server.url, timeout=0.2 if says is hang else 20.0, attempts=1) as client:
            made = app(client)
            answer = await ask(made, "GET", "/items/7")
    assert (answer.status_code, answer.json()["code"], made.state.ran) == (status, code, [])
    assert "internal words" not in answer.text
    assert answer.headers.get("retry-after") == ("7" if status == 429 else None)


@pytest.mark.parametrize("says", [http(401, {}), http(429, {}), http(400, {})])
async def test_only_a_missing_decision_may_be_passed_over(says: Any) -> None:
    """A wrong key, a limit and a malformed request stop it also where undecided requests may pass."""
    with peer(says) as server:
        async with AsyncClient(server.url, timeout=20.0, attempts=1) as client:
            made = app(client, rules=[Rule("/*", when_unavailable="let_pass_undecided")])
            assert (await ask(made, "GET", "/items/7")).status_code >= 400
    assert made.state.ran == []


async def test_held_needs_somebody_who_keeps(lockgate: Lockgate) -> None:
    """Without, the caller does not hear that a reviewer will look at it, for none would."""
    made = app(lockgate.client)
    answer = await ask(made, "POST", "/pay/1", json={"amount": 5})
    assert (answer.status_code, answer.json()["code"], made.state.ran) == (403, "review_unsupported", [])
    assert "hold" not in lockgate.recorded[0].question


async def test_held_is_kept_and_can_be_followed(lockgate: Lockgate) -> None:
    """202 with where to look; the state there changes when a person approves, and says nothing else."""
    kept: list[HeldRequest] = []
    made = app(lockgate.client, held=kept.append, held_at="/held")
    answer = await ask(made, "POST", "/pay/1?x=1", json={"amount": 5})
    decision = lockgate.decisions[0]
    assert (answer.status_code, answer.json(), answer.headers["location"]) == (202, decision.problem, f"/held/{decision.id}")
    assert [(each.method, each.path, each.query, each.body) for each in kept] == [("POST", "/pay/1", "x=1", b'{"amount":5}')]
    assert "amount" not in repr(kept)
    standing = await ask(made, "GET", answer.headers["location"], user=None)
    assert (standing.status_code, standing.json()["state"], standing.json().keys()) == (200, "pending", {"decision_id", "state", "expires"})
    lockgate.approve(decision, by="mia", roles=("manager", "reviewer"))
    assert (await ask(made, "GET", answer.headers["location"])).json()["state"] == "released"
    assert (await ask(made, "GET", "/held/nothing")).status_code == 404
    assert (await ask(made, "POST", answer.headers["location"])).status_code == 405
    assert made.state.ran == []


async def test_what_cannot_be_kept_is_not_promised(lockgate: Lockgate) -> None:
    """503 in place of 202."""

    async def full(_: HeldRequest) -> None:
        raise OSError("disk full")

    answer = await ask(app(lockgate.client, held=full), "POST", "/pay/1", json={})
    assert (answer.status_code, answer.json()["code"]) == (503, "held_unkept")


def obliging(*obligations: dict[str, Any]) -> dict[str, Any]:
    return {"effect": "allow", "reasons": [], "obligations": list(obligations)}


async def test_obligations_are_fulfilled_or_it_is_a_refusal(lockgate: Lockgate) -> None:
    """Header fields and the answer's length by the middleware; others by the application, if it says so."""
    added = {"name": "add_headers", "params": {"headers": {"X-Purpose": "audit"}}}
    with lockgate.doubles.policy(obliging(added, {"name": "tag", "params": {"tags": ["a"]}})):
        answer = await ask(app(lockgate.client), "GET", "/items/7", headers={"x-purpose": "forged"})
        assert answer.json()["headers"]["x-purpose"] == "audit"
    with lockgate.doubles.policy(obliging({"name": "mask_body", "params": {}})):
        made = app(lockgate.client)
        answer = await ask(made, "GET", "/items/7")
        assert (answer.status_code, answer.json()["code"], made.state.ran) == (403, "obligation_unfulfilled", [])
        assert (await ask(app(lockgate.client, fulfils=["mask_body"]), "GET", "/items/7")).status_code == 200
    with lockgate.doubles.policy(obliging({"name": "limit_response", "params": {"bytes": 250}})):
        answer = await ask(app(lockgate.client), "GET", "/echo/long?announced=1")
        assert (answer.status_code, answer.json()["code"]) == (502, "response_too_large")
        answer = await ask(app(lockgate.client), "GET", "/echo/long")
        assert len(answer.content) <= 250


async def test_the_trace_of_the_request_is_that_of_the_decision(lockgate: Lockgate) -> None:
    """So that both are found together."""
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await ask(app(lockgate.client), "GET", "/items/7", headers={"traceparent": parent})
    assert lockgate.decisions[0].trace_id == "0af7651916cd43dd8448eb211c80319c"


async def test_a_websocket_is_decided_about_before_it_is_accepted(lockgate: Lockgate) -> None:
    """Denied, it is closed, or answered where the server can; allowed, the application sees it."""
    made, sent = app(lockgate.client), []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/secret/x", "query_string": b"", "headers": [(b"x-user", b"ann")], "app": made}
    await made(scope, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
    sent.clear()
    await made({**scope, "extensions": {"websocket.http.response": {}}}, receive, send)
    assert (sent[0]["type"], sent[0]["status"]) == ("websocket.http.response.start", 403)
    assert lockgate.recorded[0].question["method"] == "GET"
