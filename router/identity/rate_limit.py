"""Admission limits: which allowance a request draws on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from router.caller import By, caller_key
from router.decision import Subject
from router.ports import Limits

LONGEST_WAIT = 3600.0


@dataclass(frozen=True, slots=True)
class LimitRule:
    name: str
    by: By
    limits: Limits


class RateLimiter:
    """Asks every rule in order; one that refuses ends it. What earlier rules took stays taken: a refused request also counts."""

    def __init__(self, rules: Sequence[LimitRule]) -> None:
        self._rules = tuple(rules)

    async def admit(self, subject: Subject, client: str) -> float | None:
        """None, or seconds until it would be, at most an hour. `client` is the caller's address. Raises StateError."""
        for rule in self._rules:
            wait = await rule.limits.admit(caller_key(rule.by, subject, client))
            if wait is not None:
                return min(wait, LONGEST_WAIT)
        return None
