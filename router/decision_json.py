"""A decision as JSON, version 1: what the decide API, `explain` and the console show. Fields are added, never renamed or reused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from router.decision import Candidate, Classification, Decision, Outcome, Risk, Route, Signals, Subject, Verdict

VERSION = 1


def decision_document(decision: Decision) -> dict[str, Any]:
    """Plain JSON values; fractions are numbers in 0..1, durations microseconds."""
    request, outcome = decision.request, decision.outcome
    return {
        "version": VERSION,
        "id": decision.id,
        "decided_at_ns": decision.decided_ns,
        "request": {"id": request.id, "door": request.door, "method": request.method, "host": request.host, "path": request.path},
        "subject": _subject(request.subject),
        "signals": _signals(decision.signals),
        "classification": _classification(decision.classification),
        "risk": _risk(decision.risk),
        "admission": _verdict(decision.admission),
        "verdict": _verdict(decision.verdict),
        "route": _route(decision.route),
        "outcome": _outcome(outcome, decision.verdict) if outcome is not None else None,
        "stages_us": {name: round(spent / 1000, 1) for name, spent in decision.stages_ns},
        "config_digest": decision.config_digest,
        "catalog_digest": decision.catalog_digest,
        "trace_id": request.trace.trace_id if request.trace is not None else None,
        **({"parent": decision.parent} if decision.parent else {}),
    }


def _subject(subject: Subject) -> dict[str, Any]:
    return {
        "id": subject.id,
        "type": subject.type,
        "roles": list(subject.roles),
        "groups": list(subject.groups),
        "tenant": subject.tenant,
        "authenticated_by": subject.authenticated_by,
    }


def _signals(signals: Signals) -> dict[str, Any]:
    found = [{"name": one.name, "score": round(one.score, 4), "count": one.count, "spans": one.spans} for one in signals.findings]
    return {
        "findings": found,
        "masked_text": signals.masked_text,
        "unknown": list(signals.unknown),
        "learning": list(signals.learning),
        "text_chars": signals.text_chars,
        "language": {"code": signals.language.code, "score": round(signals.language.score, 4)},
    }


def _classification(classification: Classification) -> dict[str, Any]:
    rule = classification.rule
    return {
        "status": classification.status.value,
        "intent": classification.intent,
        "confidence": _rounded(classification.confidence),
        "margin": _rounded(classification.margin),
        "scope": _rounded(classification.scope),
        "novelty": _rounded(classification.novelty),
        "injection": _rounded(classification.injection),
        "threshold": _rounded(classification.threshold),
        "candidates": _candidates(classification.candidates),
        "prediction_set": list(classification.prediction_set),
        "tier": classification.tier,
        "reason": classification.reason,
        "rule": {"name": rule.rule, "params": _plain(rule.params)} if rule is not None else None,
        "cached": classification.cached,
        "model_digest": classification.model_digest,
        "calibration_digest": classification.calibration_digest,
    }


def earlier_tiers(classification: Classification) -> list[dict[str, Any]]:
    """For who looks into why; callers are told the answer only."""
    return [
        {
            "tier": each.tier,
            "intent": each.intent,
            "reason": each.reason,
            "confidence": _rounded(each.confidence),
            "threshold": _rounded(each.threshold),
            "margin": _rounded(each.margin),
            "scope": _rounded(each.scope),
            "candidates": _candidates(each.candidates),
        }
        for each in classification.earlier_tiers
    ]


def _candidates(candidates: tuple[Candidate, ...]) -> list[dict[str, Any]]:
    return [{"intent": each.intent, "confidence": round(each.calibrated, 6), "raw": round(each.raw, 6)} for each in candidates]


def _risk(risk: Risk) -> dict[str, Any]:
    contributions = {each.name: round(each.score, 4) for each in risk.contributions}
    return {"level": risk.level.value, "score": round(risk.score, 4), "contributions": contributions}


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "effect": verdict.effect.value,
        "reasons": [{"code": reason.code, "message": reason.message} for reason in verdict.reasons],
        "obligations": [{"name": each.name, "params": _plain(each.params)} for each in verdict.obligations],
        "engine": verdict.engine,
        "revision": verdict.revision,
        "digest": verdict.digest,
        "opa_decision_id": verdict.opa_decision_id,
    }


def _route(route: Route | None) -> dict[str, Any] | None:
    return {"name": route.name, "destination": route.destination, "why": route.why} if route is not None else None


def _outcome(outcome: Outcome, verdict: Verdict) -> dict[str, Any]:
    """`headers` are for whoever answers the caller: a challenge, or when to try again."""
    told = {"headers": dict(verdict.fields)} if verdict.fields else {}
    return {"result": outcome.result.value, "status": outcome.status, "reason": outcome.reason, **told}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _plain(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return dict(mapping)
