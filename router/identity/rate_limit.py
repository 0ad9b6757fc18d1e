"""Admission limits: which allowances a request draws on before anything is known of it but who it is from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from router.caller import By, caller_key
from router.decision import Subject
from router.limiting import Limit, Limiting


@dataclass(frozen=True, slots=True)
class LimitRule:
    by: By
    limit: Limit


class RateLimiter:
    """Asks every rule in order; one that refuses ends it. What earlier rules took stays taken: a refused request also counts."""

    def __init__(self, rules: Sequence[LimitRule], limiting: Limiting) -> None:
        self._rules = tuple(rules)
        self._limiting = limiting

    async def admit(self, subject: Subject, client: str) -> float | None:
        """None, or seconds until it would be, at most an hour. `client` is the caller's address. Raises RefusedError where that cannot be
        known."""
        over = await self._limiting.draw([(rule.limit, caller_key(rule.by, subject, client)) for rule in self._rules])
        return None if over is None else over[1]
