"""By what a caller is told apart from others where requests are counted."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_network
from typing import Literal

from router.decision import Subject

By = Literal["subject", "tenant", "client", "all"]
ByIntent = Literal["intent", "subject_intent", "tenant_intent"]
IPV6_SITE = 64  # one caller commonly owns a /64


def caller_key(by: By, subject: Subject, client: str) -> str:
    """Anonymous callers have no id of their own: they are told apart by address. Callers without a tenant share one allowance."""
    if by == "all":
        return ""
    if by == "client" or (by == "subject" and subject.authenticated_by == "none"):
        return "client:" + (_site(client) if ":" in client else client)
    if by == "tenant":
        return "tenant:" + (subject.tenant or "")
    return "subject:" + subject.id


def intent_key(by: ByIntent, subject: Subject, client: str, intent: str) -> str:
    if by == "intent":
        return f"intent:{intent}"
    return f"{caller_key('subject' if by == 'subject_intent' else 'tenant', subject, client)} intent:{intent}"


@lru_cache(maxsize=4096)
def _site(client: str) -> str:
    try:
        address = IPv6Address(client.partition("%")[0])
    except ValueError:
        return client
    return str(address.ipv4_mapped or ip_network((address, IPV6_SITE), strict=False))
