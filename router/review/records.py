"""The steps of a held request with the records that go into the ledger for them."""

from __future__ import annotations

from router.audit.records.canonical import timestamp
from router.audit.records.record import Scalar, outcome_entry, review_entry
from router.decision import Outcome, Result
from router.ports import Change, Entry, Held, Review
from router.review.state import APPROVALS, Event, Reviewer, approvers, move, quorum

ENDINGS = {Event.REJECTED: "review_rejected", Event.EXPIRED: "review_expired"}
Key = tuple[str, bytes]


def held_change(held: Held, at_ns: int, key: bytes) -> Change:
    """Binds the content to the decision in the ledger before anybody looks at it."""
    details: dict[str, Scalar] = {
        "intent": held.intent,
        "route": held.route,
        "risk": held.risk,
        "quorum": quorum(held),
        "expires": timestamp(held.expires_ns),
    }
    personal = {"content_digest": held.content_digest}
    entry = review_entry(held.decision_id, Event.HELD, at_ns, details, personal, held.subject_key_id, key)
    return Change(Event.HELD, "", move("", Event.HELD), at_ns, (entry,), recorded=True)


def judged(review: Review, event: Event, at_ns: int, reviewer: Reviewer, key: bytes, comment: str) -> Change:
    """A person's step. The ledger says `approved` for each approval, with how many of how many it was."""
    said = Event.APPROVED if event in APPROVALS else event
    details: dict[str, Scalar] = {"route": review.held.route, "quorum": quorum(review.held)}
    if event in APPROVALS:
        details["approvals"] = len(approvers(review)) + 1
    personal = {"reviewer": reviewer.id, "comment": comment, "content_digest": review.held.content_digest}
    entry = review_entry(review.held.decision_id, said, at_ns, details, personal, reviewer.key_id, key)
    return _change(review, event, at_ns, entry)


def expired(review: Review, at_ns: int, reason: str = ENDINGS[Event.EXPIRED]) -> Change:
    entry = review_entry(review.held.decision_id, Event.EXPIRED, at_ns, {"route": review.held.route, "reason": reason})
    return _change(review, Event.EXPIRED, at_ns, entry, reason)


def dispatching(review: Review, event: Event, at_ns: int) -> Change:
    entry = review_entry(review.held.decision_id, event, at_ns, {"route": review.held.route})
    return _change(review, event, at_ns, entry)


def released(review: Review, at_ns: int) -> Change:
    """No outcome: what becomes of it only the service knows, which can say so as evidence."""
    entry = review_entry(review.held.decision_id, Event.RELEASED, at_ns, {"route": review.held.route})
    return _change(review, Event.RELEASED, at_ns, entry)


def ended(review: Review, event: Event, at_ns: int, outcome: Outcome, key: Key = ("", b"")) -> Change:
    return _change(review, event, at_ns, outcome_entry(review.held.decision_id, outcome, at_ns, *key))


def _change(review: Review, event: Event, at_ns: int, entry: Entry, reason: str | None = None) -> Change:
    """A rejection and an expiry end the decision too, so its outcome says so."""
    ending = reason or ENDINGS.get(event)
    denied = [] if ending is None else [outcome_entry(review.held.decision_id, Outcome(Result.DENIED, 403, ending), at_ns)]
    return Change(event, review.state, move(review.state, event), at_ns, (entry, *denied))
