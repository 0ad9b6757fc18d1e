"""Who acts for a subject (`act`, RFC 8693 §4.1): they are held to be one with it where two people have to agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from router.decision import Subject

MOST_ACTORS = 8


def actors(subject: Subject) -> tuple[str, ...]:
    """Ids of those who act for the subject, the nearest first."""
    return named(subject.claims, subject.id)


def named(claims: Mapping[str, Any], subject_id: str = "") -> tuple[str, ...]:
    """Who acts by these claims, but for the subject itself."""
    found: list[str] = []
    acting: object = claims.get("act")
    while isinstance(acting, Mapping) and len(found) < MOST_ACTORS:
        name = acting.get("sub")
        if isinstance(name, str) and name and name != subject_id:
            found.append(name)
        acting = acting.get("act")
    return tuple(dict.fromkeys(found))


def readable(claims: Mapping[str, Any]) -> bool:
    """Whether `named` finds all who act by these claims: each has a name, and there are not too many."""
    acting, steps = claims.get("act"), 0
    while acting is not None:
        if not isinstance(acting, Mapping) or steps == MOST_ACTORS:
            return False
        name = acting.get("sub")
        if not isinstance(name, str) or not name:
            return False
        acting, steps = acting.get("act"), steps + 1
    return True


def acting_claims(names: Iterable[str]) -> dict[str, Any]:
    """The claims that say that these act, the nearest first; none where nobody does."""
    found: dict[str, Any] = {}
    for name in reversed(list(names)):
        found = {"act": {"sub": name, **found}}
    return found
