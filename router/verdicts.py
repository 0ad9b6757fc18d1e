"""Several verdicts about one request as one: whatever any of them forbids or demands holds."""

from __future__ import annotations

from router.decision import Effect, Verdict
from router.errors import PolicyError

STRICTNESS = {Effect.ALLOW: 0, Effect.REROUTE: 1, Effect.REVIEW: 2, Effect.DENY: 3}


def stricter(one: Verdict, other: Verdict) -> Verdict:
    """Both verdicts as one: the stricter effect, its reasons first, and what either of them demands; a denial's status is the first that is
    named. Raises PolicyError for two different routes."""
    first, second = (one, other) if STRICTNESS[one.effect] >= STRICTNESS[other.effect] else (other, one)
    if first.effect is Effect.REROUTE and second.effect is Effect.REROUTE and first.reroute != second.reroute:
        raise PolicyError("Two policies send the request to different routes.", "policy_malformed")
    return Verdict(
        effect=first.effect,
        reasons=(*first.reasons, *(reason for reason in second.reasons if reason not in first.reasons)),
        obligations=(*first.obligations, *(each for each in second.obligations if each not in first.obligations)),
        reroute=first.reroute,
        revision=first.revision,
        digest=first.digest,
        engine=first.engine,
        opa_decision_id=first.opa_decision_id or second.opa_decision_id,
        status=first.status or second.status,
    )
