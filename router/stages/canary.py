"""A route with two destinations: who gets which is settled before policy is asked, and stands in the record."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from router.caller import By, caller_key
from router.decision import Request, Route

CANARY, ASKED = "canary", "canary_asked"  # why a route has its other destination
WANTS = {"canary": True, "stable": False}  # what a tester's header field says
WHOLE = float(1 << 64)


@dataclass(frozen=True, slots=True)
class Canary:
    """`share` between 0 and 1, of callers that `by` tells apart. Whoever has one of `testers` as a role may choose by `header`."""

    destination: str
    share: float
    by: By = "subject"
    header: str | None = None
    testers: frozenset[str] = frozenset()


def split(canaries: Mapping[str, Canary], route: Route, request: Request) -> Route:
    """The route, with the other destination where the caller is among those that get it."""
    canary = canaries.get(route.name)
    if canary is None:
        return route
    wanted = _wanted(canary, request)
    if wanted is None:
        chosen, why = place(route.name, caller_key(canary.by, request.subject, request.client)) < canary.share, CANARY
    else:
        chosen, why = wanted, ASKED
    return replace(route, destination=canary.destination, why=why, split=True) if chosen else replace(route, split=True)


def place(route: str, key: str) -> float:
    """Where a caller stands between 0 and 1 on that route: always the same, so a share that grows keeps whom it has; and on another route
    somewhere else, so that it is not always the same people who try everything first."""
    digest = hashlib.sha256(f"{route}\0{key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) / WHOLE


def _wanted(canary: Canary, request: Request) -> bool | None:
    """None where nobody asks who may."""
    if canary.header is None or canary.testers.isdisjoint(request.subject.roles):
        return None
    found = [value for name, value in request.headers if name == canary.header]
    return WANTS.get(found[0].strip().lower()) if len(found) == 1 else None
