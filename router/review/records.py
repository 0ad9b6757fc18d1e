"""The steps of a held request with the records that go into the ledger for them: one for each step, and an outcome where it ends."""

from __future__ import annotations

import json
from collections.abc import Mapping

from router.audit.records.canonical import timestamp
from router.audit.records.record import Scalar, outcome_entry, review_entry
from router.decision import Outcome, Result
from router.ports import Change, Entry, Held, Review
from router.review import terms
from router.review.attempts import Reviewer
from router.review.opinions import Opinion
from router.review.state import APPROVALS, Event, State, move

ENDINGS = {
    State.REJECTED: "review_rejected",
    State.EXPIRED: "review_expired",
    State.CANCELLED: "review_cancelled",
    State.SUPERSEDED: "review_superseded",
}
REFUSED = "refused"  # an attempt that led to no step
Key = tuple[str, bytes]


def held_change(held: Held, at_ns: int, key: bytes) -> Change:
    """Binds the content to the decision in the ledger before anybody looks at it."""
    details: dict[str, Scalar] = {
        "intent": held.intent,
        "route": held.route,
        "risk": held.risk,
        "quorum": terms.quorum(held),
        "expires": timestamp(held.expires_ns),
    }
    if held.summary.get("on_expiry") == "allow":
        details["on_expiry"] = "allow"
    personal = {"content_digest": held.content_digest}
    entry = review_entry(held.decision_id, Event.HELD, at_ns, details, personal, held.subject_key_id, key)
    return Change(Event.HELD, "", move("", Event.HELD), at_ns, (entry,), recorded=True)


def taken(
    review: Review,
    event: Event,
    at_ns: int,
    reviewer: Reviewer,
    key: bytes,
    comment: str,
    *,
    to: State | None = None,
    held: Held | None = None,
    approvals: int | None = None,
    sealed: Mapping[str, str] | None = None,
    opinion: Opinion | None = None,
) -> Change:
    """A person's step. The ledger says `approved` for each approval, with how many of how many it was. `held` is what it is about from then
    on, `approvals` how many count for that now."""
    following = held or review.held
    said = Event.APPROVED if event == Event.ENDORSED else event
    details: dict[str, Scalar] = {"route": following.route, "quorum": terms.quorum(following)}
    if event in APPROVALS and approvals is not None:
        details["approvals"] = approvals
    if terms.round_of(following):
        details["round"] = terms.round_of(following)
    if terms.level(following):
        details["level"] = terms.level(following)
    if opinion is not None:
        details |= opinion.details()
    personal = {"reviewer": reviewer.id, "comment": comment, "content_digest": following.content_digest, **(sealed or {})}
    personal |= _approval(event, following, reviewer)
    entry = review_entry(review.held.decision_id, said, at_ns, details, personal, reviewer.key_id, key)
    return _change(review, event, at_ns, entry, to)


def refused(review: Review, attempt: str, reason: str, at_ns: int, reviewer: Reviewer, key: bytes, comment: str) -> Entry:
    """An attempt that was refused, and so is no step."""
    details: dict[str, Scalar] = {"attempt": attempt, "reason": reason, "state": review.state}
    return review_entry(
        review.held.decision_id, REFUSED, at_ns, details, {"reviewer": reviewer.id, "comment": comment}, reviewer.key_id, key
    )


def timed(review: Review, event: Event, at_ns: int, to: State | None = None, reason: str = "", held: Held | None = None) -> Change:
    """A step that time has made."""
    details: dict[str, Scalar] = {"route": review.held.route}
    if held is not None and terms.level(held):
        details["level"] = terms.level(held)
    after = move(review.state, event, to)
    ending = reason or ENDINGS.get(after, "")
    entry = review_entry(review.held.decision_id, event, at_ns, {**details, **({"reason": ending} if ending else {})})
    return _change(review, event, at_ns, entry, after, ending)


def expired(review: Review, at_ns: int, reason: str = "") -> Change:
    return timed(review, Event.EXPIRED, at_ns, reason=reason)


def superseded(review: Review, at_ns: int, to: State, effect: str, bundle: str, held: Held | None, why: str) -> Change:
    """Judged again, otherwise: by which policies, and what they say now."""
    details: dict[str, Scalar] = {"route": review.held.route, "effect": effect, "bundle": bundle, "reason": why}
    if held is not None:
        details["round"] = terms.round_of(held)
        details["route"] = held.route
    entry = review_entry(review.held.decision_id, Event.SUPERSEDED, at_ns, details)
    return _change(review, Event.SUPERSEDED, at_ns, entry, to)


def dispatching(review: Review, event: Event, at_ns: int) -> Change:
    entry = review_entry(review.held.decision_id, event, at_ns, {"route": review.held.route})
    return _change(review, event, at_ns, entry)


def released(review: Review, at_ns: int) -> Change:
    """No outcome: what becomes of it only the service knows, which can say so as evidence."""
    entry = review_entry(review.held.decision_id, Event.RELEASED, at_ns, {"route": review.held.route})
    return _change(review, Event.RELEASED, at_ns, entry)


def ended(review: Review, event: Event, at_ns: int, outcome: Outcome, key: Key = ("", b"")) -> Change:
    return _change(review, event, at_ns, outcome_entry(review.held.decision_id, outcome, at_ns, *key))


def _approval(event: Event, held: Held, reviewer: Reviewer) -> dict[str, str]:
    """What an approval must prove later, sealed with it."""
    if event not in APPROVALS:
        return {}
    found = {"covers": terms.covers(held), "roles": json.dumps(sorted(reviewer.roles))}
    return {**found, "acting": json.dumps(sorted(reviewer.acting))} if reviewer.acting else found


def _change(review: Review, event: Event, at_ns: int, entry: Entry, to: State | None = None, reason: str = "") -> Change:
    """What ends the review without a dispatch ends the decision too, so its outcome says so."""
    after = move(review.state, event, to)
    ending = (reason or ENDINGS[after]) if after in ENDINGS else None
    denied = [] if ending is None else [outcome_entry(review.held.decision_id, Outcome(Result.DENIED, 403, ending), at_ns)]
    return Change(event, review.state, after, at_ns, (entry, *denied))
