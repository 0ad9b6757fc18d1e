"""Admission limits: which allowance a request draws on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_network
from typing import Literal

from router.decision import Subject
from router.ports import Limits

By = Literal["subject", "tenant", "client", "all"]
LONGEST_WAIT = 3600.0
IPV6_SITE = 64  # one caller commonly owns a /64


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
            wait = await rule.limits.admit(_key(rule.by, subject, client))
            if wait is not None:
                return min(wait, LONGEST_WAIT)
        return None


def _key(by: By, subject: Subject, client: str) -> str:
    """Anonymous callers have no id of their own: they are told apart by address. Callers without a tenant share one allowance."""
    if by == "all":
        return ""
    if by == "client" or (by == "subject" and subject.authenticated_by == "none"):
        return "client:" + (_site(client) if ":" in client else client)
    if by == "tenant":
        return "tenant:" + (subject.tenant or "")
    return "subject:" + subject.id


@lru_cache(maxsize=4096)
def _site(client: str) -> str:
    try:
        address = IPv6Address(client.partition("%")[0])
    except ValueError:
        return client
    return str(address.ipv4_mapped or ip_network((address, IPV6_SITE), strict=False))
