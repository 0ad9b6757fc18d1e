"""What of a decision may stand in a leaf for ever: names of our own making, numbers, digests of configuration. Nothing personal."""

from __future__ import annotations

from typing import Any

from router.audit.records.canonical import code, decimal, integer, is_slug, timestamp
from router.decision import (
    BodyView,
    Candidate,
    Classification,
    Decision,
    EarlierTier,
    Outcome,
    Request,
    Risk,
    Route,
    Signals,
    Step,
    Subject,
    Verdict,
)
from router.obligations import tags

Fields = dict[str, Any]

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"})
_MEDIA = frozenset(
    {
        "",
        "application/json",
        "application/cloudevents+json",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "application/xml",
        "multipart/form-data",
        "text/csv",
        "text/html",
        "text/plain",
        "text/xml",
    }
)


def decision_fields(decision: Decision) -> Fields:
    """Everything but `schema`, `commitments` and `sealed`, which `record` adds."""
    outcome = decision.outcome
    return {
        "id": decision.id,
        "time": timestamp(decision.decided_ns),
        "request": request_fields(decision.request),
        "subject": subject_fields(decision.request.subject),
        "signals": signal_fields(decision.signals),
        "classification": classification_fields(decision.classification),
        "risk": risk_fields(decision.risk),
        "admission": verdict_fields(decision.admission),
        "verdict": verdict_fields(decision.verdict),
        "route": None if decision.route is None else route_fields(decision.route),
        "outcome": None if outcome is None else outcome_fields(outcome),
        "config_digest": decision.config_digest,
        "catalog_digest": decision.catalog_digest,
        "stages_ns": durations(decision.stages_ns),
        **({"parent": decision.parent} if decision.parent else {}),
    }


def request_fields(request: Request) -> Fields:
    trace = request.trace
    return {
        "id": request.id,
        "received": timestamp(request.received_ns),
        "door": request.door,
        "method": known_method(request.method),
        "content_type": media_type(request.content_type),
        "body": body_fields(request.body),
        "trace": None
        if trace is None
        else {"trace_id": trace.trace_id, "span_id": trace.span_id, "parent_id": trace.parent_id, "sampled": trace.sampled},
    }


def known_method(method: str) -> str:
    return method if method in _METHODS else "other"


def media_type(content_type: str) -> str:
    """The essence of a well-known type, else `other`: a header value is the caller's text."""
    essence = content_type.partition(";")[0].strip().lower()
    return essence if essence in _MEDIA else "other"


def body_fields(body: BodyView) -> Fields:
    return {"seen_bytes": len(body.data), "truncated": body.truncated, "problem": body.problem and code(body.problem)}


def subject_fields(subject: Subject) -> Fields:
    tenant = subject.tenant
    return {
        "type": code(subject.type),
        "authenticated_by": subject.authenticated_by,
        "tenant": tenant if tenant is None or is_slug(tenant) else "committed",
    }


def signal_fields(signals: Signals) -> Fields:
    return {
        "findings": [{"name": found.name, "score": decimal(found.score), "count": found.count} for found in signals.findings],
        "unknown": signals.unknown,
        "learning": signals.learning,
        "text_chars": signals.text_chars,
        "body_bytes": signals.body_bytes,
    }


def classification_fields(classified: Classification) -> Fields:
    rule = classified.rule
    return {
        "status": classified.status.value,
        "intent": classified.intent,
        "confidence": decimal(classified.confidence),
        "margin": decimal(classified.margin),
        "scope": decimal(classified.scope),
        "novelty": decimal(classified.novelty),
        "injection": decimal(classified.injection),
        "threshold": decimal(classified.threshold),
        "candidates": _candidates(classified.candidates),
        "prediction_set": classified.prediction_set,
        "tier": classified.tier,
        "reason": code(classified.reason),
        "rule": None if rule is None else {"name": rule.rule, "intent": rule.intent, "route": rule.route},
        "model_digest": classified.model_digest,
        "catalog_digest": classified.catalog_digest,
        "calibration_digest": classified.calibration_digest,
        "cached": classified.cached,
        "stages_ns": durations(classified.stages_ns),
        **_earlier(classified),
    }


def _earlier(classified: Classification) -> Fields:
    """Left out where there are none, as in records from before they were kept."""
    listed = [_earlier_tier(each) for each in classified.earlier_tiers]
    return {"earlier_tiers": listed} if listed else {}


def _earlier_tier(passed: EarlierTier) -> Fields:
    return {
        "tier": passed.tier,
        "intent": passed.intent,
        "reason": code(passed.reason),
        "confidence": decimal(passed.confidence),
        "threshold": decimal(passed.threshold),
        "margin": decimal(passed.margin),
        "scope": decimal(passed.scope),
        "candidates": _candidates(passed.candidates),
    }


def _candidates(candidates: tuple[Candidate, ...]) -> list[Fields]:
    return [{"intent": one.intent, "raw": decimal(one.raw), "calibrated": decimal(one.calibrated)} for one in candidates]


def risk_fields(risk: Risk) -> Fields:
    return {
        "level": risk.level.value,
        "score": decimal(risk.score),
        "contributions": [{"name": part.name, "score": decimal(part.score)} for part in risk.contributions],
    }


def verdict_fields(verdict: Verdict) -> Fields:
    """Tags are written out in policies or data, as reason codes are; the other params of obligations are sealed."""
    return {
        "effect": verdict.effect.value,
        "reasons": [code(reason.code) for reason in verdict.reasons],
        "obligations": [code(obligation.name) for obligation in verdict.obligations],
        "reroute": verdict.reroute and code(verdict.reroute),
        "revision": verdict.revision,
        "digest": verdict.digest,
        "engine": verdict.engine,
        "opa_decision_id": verdict.opa_decision_id,
        **({"tags": found} if (found := tags(verdict.obligations)) else {}),
    }


def route_fields(route: Route) -> Fields:
    """`rewritten` says that path or method were replaced; the replacement may carry a caller's words and is sealed."""
    return {
        "name": route.name,
        "destination": route.destination,
        "why": route.why,
        "rewritten": route.path is not None or route.method is not None,
    }


def outcome_fields(outcome: Outcome) -> Fields:
    return {
        "result": outcome.result.value,
        "status": outcome.status,
        "reason": code(outcome.reason),
        "upstream": outcome.upstream,
        "attempts": outcome.attempts,
        "upstream_ns": integer(outcome.upstream_ns),
        "total_ns": integer(outcome.total_ns),
        "response_bytes": integer(outcome.response_bytes),
        "complete": outcome.complete,
        **({"steps": [_step(each) for each in outcome.steps]} if outcome.steps else {}),
    }


def _step(step: Step) -> Fields:
    return {"id": step.id, "result": step.result.value, "status": step.status}


def durations(stages: tuple[tuple[str, int], ...]) -> dict[str, int]:
    return {name: integer(ns) for name, ns in stages}
