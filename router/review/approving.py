"""Whose approvals count, and whether they are enough."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from router.ports import Entry, Held, Review
from router.review import terms
from router.review.people import People
from router.review.state import APPROVALS, Event

RENEWING = frozenset({Event.MODIFIED, Event.REROUTED, Event.INFORMATION_GIVEN, Event.ESCALATED, Event.SUPERSEDED})


@dataclass(frozen=True, slots=True)
class Approval:
    """Read from its sealed record, which who can only write to the store cannot make. `people`: key ids of the approver and of everybody
    whom they acted for, or who acted for them; `covers`: the digest that it names."""

    key_id: str
    people: frozenset[str]
    roles: frozenset[str]
    covers: str
    reviewer: str = ""


async def approvals(review: Review, people: People) -> tuple[Approval, ...]:
    """Those for what is held now: what changed since was approved by nobody."""
    wanted = terms.covers(review.held)
    found = [_read(entry, await people.opened(entry)) for entry in entries(review)]
    return tuple(each for each in found if each is not None and each.covers == wanted)


def entries(review: Review) -> tuple[Entry, ...]:
    """The record of each approval that there ever was."""
    return tuple(entry for change in review.history if change.event in APPROVALS for entry in change.entries[:1])


def counted(review: Review) -> int:
    """How many approvals there are for what is held now, without opening any."""
    began = max((at for at, change in enumerate(review.history) if change.event in RENEWING), default=0)
    return sum(change.event in APPROVALS for change in review.history[began:])


def enough(held: Held, given: Sequence[Approval]) -> bool:
    """Whether as many people as policy wants have approved, and each role that it names by another one of them."""
    distinct: list[Approval] = []
    for each in given:
        if not any(each.people & other.people for other in distinct):
            distinct.append(each)
    return len(distinct) >= terms.quorum(held) and _each_by_another(terms.each_of(held), distinct)


def missing_roles(held: Held, given: Sequence[Approval]) -> tuple[str, ...]:
    """Roles that still nobody, or nobody else, has approved with."""
    placed: dict[int, str] = {}
    return tuple([role for role in terms.each_of(held) if not _place(role, given, placed, set())])


def _each_by_another(roles: Sequence[str], given: Sequence[Approval]) -> bool:
    placed: dict[int, str] = {}
    return all(_place(role, given, placed, set()) for role in roles)


def _place(role: str, given: Sequence[Approval], placed: dict[int, str], tried: set[int]) -> bool:
    """Augmenting paths: somebody with two roles stands for the one that nobody else has."""
    for at, each in enumerate(given):
        if role in each.roles and at not in tried:
            tried.add(at)
            if at not in placed or _place(placed[at], given, placed, tried):
                placed[at] = role
                return True
    return False


def _read(entry: Entry, personal: dict[str, str]) -> Approval | None:
    """An older release noted the content's digest, and neither roles nor for whom it was."""
    covered = personal.get("covers") or personal.get("content_digest")
    if not covered:
        return None
    try:
        roles, others = json.loads(personal.get("roles") or "[]"), json.loads(personal.get("acting") or "[]")
    except ValueError:
        return None
    return Approval(entry.key_id, frozenset({entry.key_id, *others}), frozenset(roles), covered, personal.get("reviewer", ""))
