"""Admission limits: which allowance a request draws on, and the refusal when it is used up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_network
from typing import Literal

from router.decision import Subject
from router.errors import RefusedError
from router.ports import Limits

By = Literal["subject", "tenant", "client", "all"]
LONGEST_WAIT = 3600
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

    async def check(self, subject: Subject, client: str) -> None:
        """`client` is the caller's address. Raises RefusedError `rate_limited` (429), StateError when a store is down."""
        for rule in self._rules:
            wait = await rule.limits.admit(_key(rule.by, subject, client))
            if wait is not None:
                raise RefusedError(f"The limit '{rule.name}' is used up.", "rate_limited", 429, _whole_seconds(wait))


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


def _whole_seconds(wait: float) -> int:
    return LONGEST_WAIT if wait >= LONGEST_WAIT else max(1, math.ceil(wait))
