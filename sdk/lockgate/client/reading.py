"""Reads what the server says: strict about what is acted on, silent about what is new."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lockgate.client.values import (
    GOING_ON,
    Candidate,
    Classification,
    Decision,
    Obligation,
    Outcome,
    Reason,
    Review,
    ReviewQuestion,
    Risk,
    Route,
    Verdict,
)

VERSION = 1


class MalformedError(ValueError):
    """What came is not what the API promises."""


def document(body: bytes) -> Mapping[str, Any]:
    """Raises MalformedError."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedError("it is not JSON") from error
    return _mapping(found, "answer")


def read_decision(body: bytes) -> Decision:
    """Raises MalformedError, also for an answer that contradicts itself: nothing is guessed about what may go ahead."""
    found = document(body)
    if found.get("version") != VERSION:
        raise MalformedError(f"it is of version {found.get('version')!r}, and this client knows {VERSION}")
    outcome = _outcome(found)
    decision = Decision(
        id=_text(found, "id"),
        subject=_text(_part(found, "subject"), "id"),
        classification=_classification(_part(found, "classification")),
        risk=Risk(_text(_part(found, "risk"), "level"), _number(_part(found, "risk"), "score")),
        verdict=_verdict(_part(found, "verdict")),
        route=_route(found),
        outcome=outcome,
        problem=_mapping(found["problem"], "problem") if found.get("problem") is not None else None,
        trace_id=_maybe(found, "trace_id"),
        raw=found,
    )
    if not decision.id:
        raise MalformedError("the decision has no id")
    if outcome is None and decision.route is None:  # one that only stands for its steps; each of those has a decision of its own
        raise MalformedError("it has neither an outcome nor a route")
    if outcome is None and decision.verdict.effect not in GOING_ON:
        raise MalformedError(f"it has no outcome, and its effect is '{decision.verdict.effect}'")
    return decision


def read_review(body: bytes) -> Review:
    """Raises MalformedError."""
    found = document(body)
    counts = {name: int(_number(found, name)) for name in ("approvals", "quorum")}
    return Review(_text(found, "id"), _text(found, "state"), _text(found, "expires"), **counts)


def read_own_review(body: bytes) -> Review:
    """As the gateway tells it to its caller: nothing of approvals. Raises MalformedError."""
    found = document(body)
    return Review(_text(found, "decision_id"), _text(found, "state"), _text(found, "expires"))


def read_question(body: bytes) -> ReviewQuestion | None:
    """Raises MalformedError."""
    found = document(body)
    if found.get("question") is None:
        return None
    asked = _part(found, "question")
    return ReviewQuestion(int(_number(asked, "number")), _text(asked, "text"), _maybe(asked, "answer_by") or "", _text(asked, "if_match"))


def read_problem(body: bytes) -> tuple[str | None, str]:
    """(code, sentence) of an RFC 9457 body; nothing where it is none."""
    try:
        found = document(body)
    except MalformedError:
        return None, ""
    code, detail = found.get("code"), found.get("detail") or found.get("title")
    return (code if isinstance(code, str) and code else None), (detail if isinstance(detail, str) else "")


def _classification(found: Mapping[str, Any]) -> Classification:
    candidates = tuple(Candidate(_text(each, "intent"), _number(each, "confidence")) for each in _parts(found, "candidates"))
    return Classification(
        _text(found, "status"),
        _maybe(found, "intent"),
        _fraction(found, "confidence"),
        _fraction(found, "threshold"),
        candidates,
        _maybe(found, "tier") or "",
        _maybe(found, "reason") or "",
    )


def _verdict(found: Mapping[str, Any]) -> Verdict:
    """A part that is not there is malformed: an obligation that was lost would let too much go ahead."""
    reasons = tuple(Reason(_text(each, "code"), _maybe(each, "message") or "") for each in _parts(found, "reasons"))
    obligations = tuple(Obligation(_text(each, "name"), _part(each, "params")) for each in _parts(found, "obligations"))
    return Verdict(_text(found, "effect"), reasons, obligations, _maybe(found, "revision") or "", _maybe(found, "digest") or "")


def _route(found: Mapping[str, Any]) -> Route | None:
    route = found.get("route")
    if route is None:
        return None
    named = _mapping(route, "route")
    return Route(_text(named, "name"), _text(named, "destination"))


def _outcome(found: Mapping[str, Any]) -> Outcome | None:
    if "outcome" not in found:  # not the same as null, which says that the request may go ahead
        raise MalformedError("it lacks 'outcome'")
    if found["outcome"] is None:
        return None
    outcome = _part(found, "outcome")
    fields = _mapping(outcome.get("headers") or {}, "headers")
    status = outcome.get("status")
    if type(status) is not int or not 100 <= status < 600:
        raise MalformedError("the outcome's status is no HTTP status")
    headers = {str(name): str(value) for name, value in fields.items()}
    return Outcome(_text(outcome, "result"), status, _text(outcome, "reason"), headers)


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError(f"'{name}' is no object")
    return value


def _part(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return _mapping(found.get(name), name)


def _parts(found: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = found.get(name)
    if not isinstance(value, list):
        raise MalformedError(f"'{name}' is no list")
    return [_mapping(each, name) for each in value]


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    if not isinstance(value, str):
        raise MalformedError(f"'{name}' is no text")
    return value


def _maybe(found: Mapping[str, Any], name: str) -> str | None:
    return None if found.get(name) is None else _text(found, name)


def _number(found: Mapping[str, Any], name: str) -> float:
    value = found.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise MalformedError(f"'{name}' is no number")
    return value


def _fraction(found: Mapping[str, Any], name: str) -> float | None:
    if found.get(name) is None:
        return None
    value = _number(found, name)
    if not 0 <= value <= 1:
        raise MalformedError(f"'{name}' is no fraction")
    return value
