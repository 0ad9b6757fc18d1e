"""Rate limits of what requests mean. What they refuse is a decision and is recorded, for by then the request has cost a classification."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from router.caller import ByIntent, intent_key
from router.decision import Classification, Effect, Reason, Request, Route, Verdict
from router.errors import RefusedError
from router.limiting import Limit, Limiting
from router.stages.demands import Refusal, denied


@dataclass(frozen=True, slots=True)
class IntentLimitRule:
    """`intents`: those that it is about; none of them named means all."""

    by: ByIntent
    limit: Limit
    intents: frozenset[str] = frozenset()


class IntentLimits:
    def __init__(self, rules: Sequence[IntentLimitRule] = (), limiting: Limiting | None = None) -> None:
        self._rules = tuple(rules)
        self._limiting = limiting if limiting is not None else Limiting()

    def __bool__(self) -> bool:
        return bool(self._rules)

    async def within(self, request: Request, classification: Classification, route: Route | None, verdict: Verdict) -> Verdict:
        """The verdict, or a denial in its place. A request that goes nowhere anyhow draws on nothing."""
        intent = classification.intent
        if intent is None or route is None or verdict.effect is Effect.DENY:
            return verdict
        drawn = [
            (rule.limit, intent_key(rule.by, request.subject, request.client, intent))
            for rule in self._rules
            if not rule.intents or intent in rule.intents
        ]
        try:
            over = await self._limiting.draw(drawn)
        except RefusedError as error:
            return denied(verdict, Refusal(Reason(error.code, str(error)), error.status, (("retry-after", "1"),)))
        if over is None:
            return verdict
        reason = Reason("intent_rate_limited", f"The limit '{drawn[over[0]][0].name}' on such requests is reached.")
        return denied(verdict, Refusal(reason, 429, (("retry-after", str(max(1, math.ceil(over[1])))),)))


NO_INTENT_LIMITS = IntentLimits()
