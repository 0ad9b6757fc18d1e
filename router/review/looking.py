"""What a reviewer who may change a held request sees of it, and what it would become. Nothing is changed by it. It is told to who could
make the change and to nobody else, and is a reading, on record before anything is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from router.audit.questions.reading import EVENT, Reading, told_id
from router.audit.records.record import system_entry
from router.decision import Subject
from router.errors import ReviewError
from router.ports import Clock, Held, Ledger
from router.review import terms
from router.review.attempting import Asked, Attempting, Step, Trying
from router.review.attempts import Kind
from router.review.changing import document_of, modified
from router.review.packing import Content, open_content
from router.review.people import People
from router.review.places import MOST_PLACES, Place, places, same

WHAT = "held"  # of a reading


class Looking:
    def __init__(self, attempting: Attempting, ledger: Ledger, people: People, clock: Clock) -> None:
        self._attempting = attempting
        self._ledger = ledger
        self._people = people
        self._clock = clock

    async def values(self, review_id: str, subject: Subject) -> dict[str, Any]:
        """Raises ReviewError, AuditError."""
        trying, _ = await self._attempting.tried(review_id, subject, Asked(Kind.MODIFY), through=False)
        found = _changeable(trying.review.held, trying.content)
        await self._noted(trying, len(found))
        return _told(trying, found)

    async def modified(self, review_id: str, subject: Subject, asked: Asked) -> dict[str, Any]:
        """Raises ReviewError, AuditError."""
        trying, step = await self._attempting.tried(review_id, subject, asked)
        if step is None or step.held is None or trying.content is None:
            raise ReviewError("The request cannot be opened.", "content_changed")
        after = await self._opened(step.held)
        found, following = _changeable(trying.review.held, trying.content), _changeable(trying.review.held, after)
        await self._noted(trying, len(found))
        wanted = document_of(modified(trying.review.held, trying.content.outbound, asked.changes))
        return {
            **_told(trying, found),
            "becomes": _becomes(step, step.held, found, following, not same(document_of(after.outbound), wanted)),
        }

    async def _opened(self, held: Held) -> Content:
        key = await self._people.key(held.subject_key_id)
        if key is None:
            raise ReviewError("The key of the one who asked was destroyed.", "subject_erased")
        return open_content(key, held)

    async def _noted(self, trying: Trying, rows: int) -> None:
        reading = Reading(WHAT, told_id(trying.review.held.decision_id), rows, opened=True)
        await self._ledger.append(system_entry(EVENT, self._clock.now_ns(), reading.details(trying.attempt.reviewer.key_id)))


def _changeable(held: Held, content: Content | None) -> tuple[Place, ...]:
    """Raises ReviewError `modification_refused`."""
    allowed = terms.changeable(held)
    if not allowed:
        raise ReviewError("Policy does not let a reviewer change anything of it.", "modification_refused")
    if content is None:
        raise ReviewError("The request cannot be opened.", "content_changed")
    try:
        found = places(document_of(content.outbound), allowed)
    except (ValueError, RecursionError) as error:
        raise ReviewError("The body cannot be changed so that all else of it stays as it is.", "modification_refused") from error
    if not found:
        raise ReviewError("Nothing of what policy lets a reviewer change is in this request.", "modification_refused")
    return found


def _told(trying: Trying, found: Sequence[Place]) -> dict[str, Any]:
    review = trying.review
    return {
        "id": review.held.decision_id,
        "version": review.version,
        "content_digest": terms.covers(review.held),
        "values": [{"pointer": each.pointer, "kind": each.kind, "value": each.value} for each in found[:MOST_PLACES]],
        "more": len(found) > MOST_PLACES,
    }


def _becomes(step: Step, held: Held, before: Sequence[Place], after: Sequence[Place], otherwise: bool) -> dict[str, Any]:
    """`otherwise`: what policy asks for changes more than what was asked for, such as by masking it."""
    now = {each.pointer: each.value for each in after}
    was = {each.pointer: each.value for each in before}
    named = [each for each in (*was, *(pointer for pointer in now if pointer not in was)) if _differ(was, now, each)]
    return {
        "content_digest": terms.covers(held),
        "changes": [{"pointer": each, "before": was.get(each), "after": now.get(each)} for each in named],
        "otherwise": otherwise,
        "state": step.change.after,
        "risk": held.risk,
        "route": held.route,
        "destination": held.destination,
        "reviewers": list(terms.reviewer_roles(held)),
        "quorum": terms.quorum(held),
    }


def _differ(was: dict[str, Any], now: dict[str, Any], pointer: str) -> bool:
    return pointer not in was or pointer not in now or not same(was[pointer], now[pointer])
