"""Who acts for a subject (`act`, RFC 8693 §4.1): they are held to be one with it where two people have to agree. So is who made the API key
that it came with, for they have seen it: they may approve nothing that was asked with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from router.decision import Subject

MOST_ACTORS = 8
KEY_ID, MADE_BY = "key_id", "key_made_by"
ON_COMMAND_LINE = "cli:"  # no subject: whoever can write the store of keys, for whom no key is needed


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


def key_claims(key_id: str, made_by: str) -> dict[str, str]:
    """The claims of who comes with an API key."""
    named_by = made_by and not made_by.startswith(ON_COMMAND_LINE)
    return {KEY_ID: key_id, MADE_BY: made_by} if named_by else {KEY_ID: key_id}


def maker(claims: Mapping[str, Any]) -> str | None:
    """Id of who made the API key that a subject, or who asked for it, came with; None where nobody is known to have."""
    found = claims.get(MADE_BY)
    return found if isinstance(found, str) and found else None
