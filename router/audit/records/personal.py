"""What of a decision is personal or may be: strings by field name, empty ones left out. Their absence from a leaf is itself visible."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from router.audit.records.canonical import code, is_slug
from router.audit.records.leaf import known_method, media_type
from router.audit.records.sealing import as_text
from router.decision import Decision, Outcome, Request, Subject, Verdict

OF_POLICY = ("policy_input", "admission_reasons", "admission_obligations", "verdict_reasons", "verdict_obligations", "reroute")
"""What policy was told and what it said, as far as that is personal."""


def decision_personal(decision: Decision, policy_input: Mapping[str, Any] | bytes) -> dict[str, str]:
    """`policy_input` is what the engine was given for the deciding entry, for exact replay; empty when policy was not reached."""
    fields = {
        "text": decision.request.body.text,
        "masked_text": decision.signals.masked_text,
        "policy_input": _document(policy_input),
        **_request(decision.request),
        **_subject(decision.request.subject),
        **_judgement(decision),
    }
    if decision.outcome is not None:
        fields.update(outcome_personal(decision.outcome))
    return {name: value for name, value in fields.items() if value}


def outcome_personal(outcome: Outcome) -> dict[str, str]:
    fields = {"request_digest": outcome.request_digest or "", "outcome_reason": _freed(outcome.reason), "work": outcome.work}
    return {name: value for name, value in fields.items() if value}


def _request(request: Request) -> dict[str, str | None]:
    trace, source = request.trace, request.source
    return {
        "host": request.host,
        "path": request.path,
        "query": request.query,
        "method": "" if known_method(request.method) == request.method else request.method,
        "content_type": "" if media_type(request.content_type) == request.content_type else request.content_type,
        "headers": as_text(request.headers) if request.headers else "",
        "client": request.client,
        "body_digest": request.body.digest,
        "idempotency_key": request.idempotency_key,
        "conversation": request.conversation,
        "earlier": as_text([[each.text, each.intent, list(each.offered)] for each in request.earlier]) if request.earlier else "",
        "event": as_text({"source": source.source, "id": source.id}) if source else "",
        "trace_state": trace.state if trace else "",
    }


def _subject(subject: Subject) -> dict[str, str | None]:
    """Roles and groups are an issuer's words and often name teams of two: sealed, in one field."""
    return {
        "subject": subject.id,
        "subject_type": _freed(subject.type),
        "tenant": "" if subject.tenant is None or is_slug(subject.tenant) else subject.tenant,
        "authority": as_text({"roles": subject.roles, "groups": subject.groups}) if subject.roles or subject.groups else "",
        "claims": as_text(subject.claims) if subject.claims else "",
    }


def _judgement(decision: Decision) -> dict[str, str | None]:
    rule, route = decision.classification.rule, decision.route
    spans = {found.name: found.spans for found in decision.signals.findings if found.spans}
    return {
        "spans": as_text(spans) if spans else "",
        "rule_params": as_text(rule.params) if rule and rule.params else "",
        "rewrite": as_text({"path": route.path, "method": route.method}) if route and (route.path or route.method) else "",
        "classification_reason": _freed(decision.classification.reason),
        "body_problem": _freed(decision.request.body.problem or ""),
        "admission_reasons": _reasons(decision.admission),
        "verdict_reasons": _reasons(decision.verdict),
        "admission_obligations": _obligations(decision.admission),
        "verdict_obligations": _obligations(decision.verdict),
        "reroute": _freed(decision.verdict.reroute or ""),
    }


def _reasons(verdict: Verdict) -> str:
    """In full only where the leaf's codes do not say everything."""
    if not any(reason.message for reason in verdict.reasons) and _plain(reason.code for reason in verdict.reasons):
        return ""
    return as_text([{"code": reason.code, "message": reason.message} for reason in verdict.reasons])


def _obligations(verdict: Verdict) -> str:
    if _plain(one.name for one in verdict.obligations) and not any(one.params for one in verdict.obligations):
        return ""
    return as_text([{"name": one.name, "params": one.params} for one in verdict.obligations])


def _plain(names: Iterable[str]) -> bool:
    return all(code(name) == name for name in names)


def _freed(text: str) -> str:
    """The text that `code` kept out of the leaf."""
    return "" if code(text) == text else text


def _document(policy_input: Mapping[str, Any] | bytes) -> str:
    if isinstance(policy_input, bytes):
        return policy_input.decode("utf-8", "backslashreplace")
    return as_text(policy_input) if policy_input else ""
