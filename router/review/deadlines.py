"""When something is to happen to a held request by itself. Follows from what is stored, so that a restart changes nothing.

claim     from a claim or its renewal: then it lapses, and others may decide
respond   from a reviewer's question: then, unanswered, it expires
escalate  from when a level began: then the next one decides
expires   the hard end, whatever else happened: then it expires, or goes where policy had said so
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from router.ports import NEVER, Change, Held, Review
from router.review import terms
from router.review.state import UNDECIDED, Event, State

LEVEL_BEGINS = (Event.HELD, Event.ESCALATED, Event.SUPERSEDED)
CLAIMS = (Event.CLAIMED, Event.RENEWED)


def overdue(review: Review, now_ns: int) -> Event | None:
    """The step that time has made due, the gravest first."""
    if review.state not in UNDECIDED:
        return None
    held, history = review.held, review.history
    if now_ns >= held.expires_ns:
        return Event.EXPIRY_ALLOWED if terms.allowed_on_expiry(held) else Event.EXPIRED
    if review.state == State.MORE_INFORMATION and now_ns >= _responds(held, history):
        return Event.EXPIRED
    if now_ns >= _escalates(held, history):
        return Event.ESCALATED
    return Event.LAPSED if review.state == State.ASSIGNED and now_ns >= claimed_until(held, history) else None


def due_ns(held: Held, state: str, history: Sequence[Change]) -> int:
    """When to look again."""
    if state not in UNDECIDED:
        return NEVER
    ends = [held.expires_ns, _escalates(held, history)]
    if state == State.ASSIGNED:
        ends.append(claimed_until(held, history))
    if state == State.MORE_INFORMATION:
        ends.append(_responds(held, history))
    return min(ends)


def claimed_until(held: Held, history: Sequence[Change]) -> int:
    began = _last(history, CLAIMS)
    return 0 if began is None else began.at_ns + terms.claim_ns(held)


def claimant(review: Review) -> str:
    """Key id of the one who has claimed it; empty where nobody has."""
    began = _last(review.history, (Event.CLAIMED,)) if review.state == State.ASSIGNED else None
    return began.entries[0].key_id if began is not None and began.entries else ""


def asked_by(review: Review) -> str:
    """Key id of the reviewer whose question is open."""
    began = _last(review.history, (Event.INFORMATION_ASKED,)) if review.state == State.MORE_INFORMATION else None
    return began.entries[0].key_id if began is not None and began.entries else ""


def next_escalation(review: Review) -> int | None:
    found = _escalates(review.held, review.history)
    return found if review.state in UNDECIDED and found != NEVER else None


def next_response(review: Review) -> int | None:
    found = _responds(review.held, review.history) if review.state == State.MORE_INFORMATION else NEVER
    return found if found != NEVER else None


def _escalates(held: Held, history: Sequence[Change]) -> int:
    after, began = terms.escalate_ns(held), _last(history, LEVEL_BEGINS)
    if after is None or began is None or terms.level(held) >= len(terms.levels(held)):
        return NEVER
    return began.at_ns + after


def _responds(held: Held, history: Sequence[Change]) -> int:
    after, began = terms.respond_ns(held), _last(history, (Event.INFORMATION_ASKED,))
    return NEVER if after is None or began is None else began.at_ns + after


def _last(history: Sequence[Change], events: Iterable[Event]) -> Change | None:
    wanted = frozenset(events)
    return next((change for change in reversed(history) if change.event in wanted), None)
