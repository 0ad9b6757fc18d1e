"""Holding a request for a human, from a worker's side: sealed under its subject's key and bound to its content's digest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from router.decision import Decision
from router.dispatch import content_digest
from router.errors import AuditError, ReviewError
from router.ports import Clock, Held, Outbound, ReviewStore, SubjectKeys
from router.review.packing import seal_outbound

NS = 1_000_000_000
MOST_APPROVALS = 10


class Holding:
    """`expires_s`: how long a request waits for a decision, unless policy says less or more."""

    def __init__(self, reviews: ReviewStore, keys: SubjectKeys, clock: Clock, expires_s: float) -> None:
        self._reviews = reviews
        self._keys = keys
        self._clock = clock
        self._expires = expires_s

    async def hold(self, decision: Decision, outbound: Outbound) -> None:
        """Durable when it returns. Raises ReviewError, and PolicyError for a body that was not read whole."""
        if decision.route is None:
            raise ReviewError("A request without a route cannot be held.", "route_missing")
        digest = content_digest(outbound)
        try:
            key_id, key = await self._keys.key_for(decision.request.subject.id)
        except AuditError as error:
            raise ReviewError(f"The request could not be sealed: {error}") from error
        wanted = _wanted(decision)
        now = self._clock.now_ns()
        await self._reviews.hold(
            Held(
                decision_id=decision.id,
                content_digest=digest,
                created_ns=now,
                expires_ns=now + int(_number(wanted, "expires_seconds", self._expires) * NS),
                intent=decision.classification.intent,
                route=decision.route.name,
                destination=decision.route.destination,
                risk=decision.risk.level.value,
                tenant=decision.request.subject.tenant,
                subject_key_id=key_id,
                sealed=seal_outbound(key, outbound, decision.id, digest),
                summary={
                    "reasons": [reason.code for reason in decision.verdict.reasons],
                    "reviewers": [str(role) for role in wanted.get("reviewers", [])],
                    "quorum": min(MOST_APPROVALS, max(1, int(_number(wanted, "quorum", 1)))),
                    "text": decision.signals.masked_text or "",
                },
            )
        )


def _wanted(decision: Decision) -> Mapping[str, Any]:
    """What policy's `require_review` obligation says; with several, the last."""
    found = [each.params for each in decision.verdict.obligations if each.name == "require_review"]
    return found[-1] if found else {}


def _number(wanted: Mapping[str, Any], name: str, default: float) -> float:
    value = wanted.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ReviewError(f"Policy asks for a review with '{name}' {value!r}, which is no positive number.", "obligation_failed")
    return value
