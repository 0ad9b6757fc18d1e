"""What a caller is told: Lockgate's own words where there is a decision, the same form where there is none (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lockgate.client.errors import CredentialRefused, NoDecision, RateLimited, RequestRefused, Unfulfilled
from lockgate.client.values import Decision

MEDIA_TYPE = "application/problem+json"
TYPE = "urn:lockgate:problem:"
TITLES = {
    "body_malformed": "The body is malformed",
    "body_timeout": "The request did not arrive in time",
    "body_too_large": "The request body is too large",
    "body_unseen": "The body cannot be judged",
    "confidence_too_low": "It is not certain enough what is asked for",
    "credential_missing": "A credential is required",
    "decision_unavailable": "The request could not be decided about",
    "held_unkept": "The request could not be kept",
    "intent_unexpected": "The request asks for something else than is done here",
    "obligation_unfulfilled": "The request was denied",
    "rate_limited": "Too many requests",
    "response_too_large": "The answer is larger than policy allows",
    "review_unsupported": "The request needs a reviewer",
}
CHALLENGE = 'Bearer realm="lockgate"'


def problem(status: int, code: str, detail: str, decision: Decision | None = None, headers: Mapping[str, str] | None = None) -> Response:
    body: dict[str, Any] = {
        "type": TYPE + code,
        "title": TITLES.get(code) or code.replace("_", " ").capitalize(),
        "status": status,
        "code": code,
        "detail": detail,
    }
    fields = dict(headers or {})
    if decision is not None:
        body["decision_id"] = decision.id
        fields["x-lockgate-decision-id"] = decision.id
    return Response(json.dumps(body), status, fields, MEDIA_TYPE)


def decided(decision: Decision, headers: Mapping[str, str] | None = None) -> Response:
    """For a decision that lets nothing be done: the gateway's answer, word for word."""
    outcome = decision.outcome
    if outcome is None:
        raise ValueError("the decision lets the request go ahead")
    fields = {**outcome.headers, **(headers or {}), "x-lockgate-decision-id": decision.id}
    if outcome.status == 401 and not any(name.lower() == "www-authenticate" for name in fields):
        fields["www-authenticate"] = CHALLENGE
    if decision.problem is None:  # of a server that does not say
        return problem(outcome.status, outcome.reason, "The request was not let through.", decision, fields)
    return Response(json.dumps(decision.problem), outcome.status, fields, MEDIA_TYPE)


def undecided(error: NoDecision) -> Response:
    """What is the caller's own doing is told as the gateway tells it. What is ours is a 503, whose code says that much and no more."""
    if isinstance(error, RequestRefused):
        return problem(error.status or 400, error.code, str(error))
    waits = {"retry-after": str(int(error.retry_after))} if error.retry_after is not None else {}
    if isinstance(error, RateLimited):
        return problem(429, error.code, str(error), headers=waits)
    why = "credential_refused" if isinstance(error, CredentialRefused) else error.code
    return problem(503, "decision_unavailable", f"There is no decision about this request ({why}), so nothing was done.", headers=waits)


def unfulfilled(error: Unfulfilled) -> Response:
    return problem(403, error.code, "Policy attaches conditions that are not met here.", error.decision)


async def respond(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """To a WebSocket that is not accepted yet, too: as a response where the server can (ASGI's extension), else by closing it."""
    if scope["type"] == "http":
        await response(scope, receive, send)
    elif "websocket.http.response" in scope.get("extensions", {}):
        fields = [(name, value) for name, value in response.raw_headers]
        await send({"type": "websocket.http.response.start", "status": response.status_code, "headers": fields})
        await send({"type": "websocket.http.response.body", "body": bytes(response.body)})
    else:
        await send({"type": "websocket.close", "code": 1008})
