"""What a caller is told when nothing was dispatched: RFC 9457 problems that carry the decision id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from router.decision import Decision, Result
from router.doors.dates import date_field
from router.errors import LockgateError, RefusedError
from router.ports import Headers
from router.problems import problem

STATE_FAILED = "Shared state did not answer, so nothing was done."  # what exactly failed is for the log
Send = Callable[[Any], Awaitable[None]]
Fields = tuple[tuple[str, str], ...]
_CLARIFICATIONS = 5
_WHICH = "It could be any of the candidates. Please say in other words which one is meant."
_QUESTIONS = {
    "several_plausible": _WHICH,
    "margin_too_small": _WHICH,
    "several_intents": "It asks for more than one thing. Please ask for one after the other.",
    "negated": "It says what is not to be done. Please say what is to be done.",
}


async def respond(send: Send, status: int, body: bytes, headers: Headers) -> None:
    own = [(b"date", date_field()), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *own]})
    await send({"type": "http.response.body", "body": body})


async def respond_problem(
    send: Send, status: int, code: str, detail: str, decision_id: str | None = None, headers: Headers | None = None, **extra: Any
) -> None:
    body = problem(status, code, detail=detail, decision_id=decision_id, **extra)
    await respond(send, status, body, [*_named(decision_id), *(headers or [])])


async def refuse(send: Send, error: RefusedError) -> None:
    headers: Headers = []
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    headers += _challenged(error.status, error.fields)
    if error.status in (408, 413):
        headers.append((b"connection", b"close"))
    await respond_problem(send, error.status, error.code, str(error), headers=headers)


def _challenged(status: int, fields: Fields) -> Headers:
    """With a challenge where the status asks for one (RFC 9110, 15.5.2) and nobody made it yet."""
    headers = [(name.encode(), value.encode()) for name, value in fields]
    if status == 401 and not any(name == b"www-authenticate" for name, _ in headers):
        headers.append((b"www-authenticate", b'Bearer realm="lockgate"'))
    return headers


async def fail(send: Send, error: LockgateError, status: int, decision_id: str | None = None) -> None:
    await respond_problem(send, status, error.code, str(error), decision_id)


def possible(decision: Decision) -> tuple[str, ...]:
    """What the caller may have meant: the intents in doubt where these are known, else the most likely ones; nothing where abstention is
    configured as a refusal."""
    classification = decision.classification
    if decision.outcome is None or decision.outcome.status == 403:
        return ()
    return classification.prediction_set or tuple(each.intent for each in classification.candidates[:_CLARIFICATIONS])


@dataclass(frozen=True, slots=True)
class Told:
    """What the caller hears of a decision that ended the request by itself; `problem` is the body (RFC 9457)."""

    status: int
    problem: bytes
    headers: Headers


async def ended(send: Send, decision: Decision, descriptions: Mapping[str, str]) -> None:
    """Answers for a decision that ended the request by itself."""
    told = ending(decision, descriptions)
    await respond(send, told.status, told.problem, told.headers)


def ending(decision: Decision, descriptions: Mapping[str, str]) -> Told:
    """The answer for a decision that ended the request by itself. `descriptions`: of the intents that callers may be told of."""
    outcome = decision.outcome
    if outcome is None:
        raise ValueError("the decision is to be dispatched")
    extra: dict[str, Any] = {"reasons": [{"code": r.code, "message": r.message} for r in decision.verdict.reasons]}
    if outcome.result is Result.ABSTAINED and outcome.status == 404:
        detail = "No rule matches this request, and it has no text that could be understood."
    elif outcome.result is Result.ABSTAINED:
        extra["status_of_classification"] = decision.classification.status.value
        extra["candidates"] = [{"intent": name, "description": descriptions[name]} for name in possible(decision) if name in descriptions]
        detail = _QUESTIONS.get(outcome.reason, "It is not clear enough what is asked for. Please say it in other words.")
    elif outcome.result is Result.HELD:
        detail = "The request waits for a reviewer."
    else:
        detail = decision.verdict.reasons[0].message if decision.verdict.reasons else "Policy does not allow this request."
    body = problem(outcome.status, outcome.reason, detail=detail, decision_id=decision.id, **extra)
    return Told(outcome.status, body, [*_named(decision.id), *_challenged(outcome.status, decision.verdict.fields)])


def _named(decision_id: str | None) -> Headers:
    named = [(b"x-lockgate-decision-id", decision_id.encode())] if decision_id else []
    return [(b"content-type", b"application/problem+json"), *named]
