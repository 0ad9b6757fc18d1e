"""What policy is told, and what becomes of its answer. The documents are described by `policies/schemas/input.json`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from router.decision import Classification, Effect, Finding, Reason, Request, Risk, Route, Signals, Subject, Verdict
from router.errors import PolicyError
from router.obligations import read
from router.ports import Intents, PolicyEngine
from router.stages.routing import IntentEntry

VERSION = 1
MOST_PLAUSIBLE = 32
TRUNCATED = "body_truncated"  # the cascade's reason where the text was not seen whole
Document = dict[str, Any]


def admission_input(request: Request) -> Document:
    return {"version": VERSION, "entry": "admission", "request": _request(request), "subject": _subject(request.subject)}


def policy_input(
    request: Request,
    signals: Signals,
    classification: Classification,
    risk: Risk,
    intent: IntentEntry | None,
    route: Route | None,
    admission: Mapping[str, Any] | None = None,
    routes: Mapping[str, Any] | None = None,
) -> Document:
    """`intent` is the catalog's entry of the classification's intent; `route` where the request would go; `admission` the document that
    was made of this request before, if one was; `routes` how those stand among which policy may choose."""
    document = {
        **(admission or admission_input(request)),
        "entry": "decision",
        "signals": _signals(signals),
        "classification": _classification(classification),
        "risk": {"level": risk.level.value, "score": risk.score, "contributions": {each.name: each.score for each in risk.contributions}},
        "intent": _intent(intent) if intent is not None else None,
        "route": {"name": route.name, "destination": route.destination} if route is not None else None,
    }
    return document if routes is None else {**document, "routes": routes}


def plausible(intent: str | None, prediction_set: Iterable[str]) -> tuple[str, ...]:
    """The intents whose packages are asked: the one that was found, and every other that may be meant. The strictest of their verdicts
    wins, so that a request cannot be let through as the harmless one of its readings. None where more are plausible than say anything."""
    found = tuple(dict.fromkeys((*((intent,) if intent is not None else ()), *prediction_set)))
    return found if len(found) <= MOST_PLAUSIBLE else ()


async def judge(engine: PolicyEngine, entry: str, intent: Intents, document: Mapping[str, Any], deadline_s: float | None = None) -> Verdict:
    """Never raises for anything that goes wrong in the engine: whatever is no verdict is a deny with the reason's code. `deadline_s` is for
    engines that wait for somebody; None leaves it to the engine, and saves the cost of a timer."""
    try:
        if deadline_s is None:
            verdict: object = await engine.evaluate(entry, intent, document)
        else:
            async with asyncio.timeout(deadline_s):
                verdict = await engine.evaluate(entry, intent, document)
        for each in getattr(verdict, "obligations", ()):
            read(each.name, each.params, entry)
    except PolicyError as error:
        return refusal(engine, error.code, str(error))
    except TimeoutError:
        return refusal(engine, "policy_late", "Policy took longer than its deadline.")
    except Exception as error:  # noqa: BLE001  # an engine that fails in a new way must not let anything through
        return refusal(engine, "policy_error", f"The policy engine failed: {type(error).__name__}.")
    if not isinstance(verdict, Verdict) or not isinstance(verdict.effect, Effect):
        return refusal(engine, "policy_malformed", "The policy engine answered with something that is no verdict.")
    return verdict


def refusal(engine: PolicyEngine, code: str, message: str) -> Verdict:
    return Verdict(Effect.DENY, (Reason(code, message),), digest=engine.digest)


def _request(request: Request) -> Document:
    path, body, seconds = request.path, request.body, request.received_ns // 1_000_000_000
    return {
        "id": request.id,
        "door": request.door,
        "method": request.method,
        "host": request.host,
        "path": path,
        "path_parts": path.strip("/").split("/") if path != "/" else [],
        "query": request.query,
        "headers": _headers(request.headers),
        "content_type": request.content_type,
        "client": request.client,
        "body": {"bytes": len(body.data), "truncated": body.truncated, "problem": body.problem},
        "time": {"ns": request.received_ns, "iso": _iso(seconds)},
    }


@lru_cache(maxsize=8)
def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19] + "Z"


def _headers(fields: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Fields that come more than once are one list (RFC 9110, 5.3)."""
    headers: dict[str, str] = {}
    for name, value in fields:
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _subject(subject: Subject) -> Document:
    return {
        "id": subject.id,
        "type": subject.type,
        "roles": subject.roles,
        "groups": subject.groups,
        "tenant": subject.tenant,
        "authenticated_by": subject.authenticated_by,
        "claims": subject.claims,
    }


def _signals(signals: Signals) -> Document:
    language = {"code": signals.language.code, "score": signals.language.score}
    return {
        "findings": _findings(signals.findings),
        "unknown": signals.unknown,
        "learning": signals.learning,
        "text_chars": signals.text_chars,
        "language": language,
    }


def _findings(findings: tuple[Finding, ...]) -> Document:
    """By name; of several with one name the highest score and all their counts."""
    found: Document = {}
    for each in findings:
        before = found.get(each.name)
        if before is None:
            found[each.name] = {"score": each.score, "count": each.count}
        else:
            found[each.name] = {"score": max(before["score"], each.score), "count": before["count"] + each.count}
    return found


def _classification(found: Classification) -> Document:
    return {
        "status": found.status.value,
        "intent": found.intent,
        "confidence": found.confidence,
        "margin": found.margin,
        "scope": found.scope,
        "novelty": found.novelty,
        "injection": found.injection,
        "tier": found.tier,
        "threshold": found.threshold,
        "candidates": [{"intent": each.intent, "confidence": each.calibrated} for each in found.candidates],
        "prediction_set": list(found.prediction_set),
        "reason": found.reason,
        "truncated": found.reason == TRUNCATED,
    }


def _intent(intent: IntentEntry) -> Document:
    return {"name": intent.name, "owner": intent.owner, "risk": intent.risk, "tags": intent.tags}
