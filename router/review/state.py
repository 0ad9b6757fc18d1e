"""What may become of a held request, and who may say so. Decides only; durability is the store's.

pending ─▶ approved ─▶ dispatching ─▶ done | failed | uncertain
   │          └─▶ released
   └─▶ rejected | expired
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from router.errors import ReviewError
from router.ports import Entry, Held, Review


class State(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    RELEASED = "released"  # whoever asked for the decision may go ahead; nothing is sent from here
    DISPATCHING = "dispatching"
    DONE = "done"  # the upstream answered, whatever it said
    FAILED = "failed"  # nothing reached the upstream
    UNCERTAIN = "uncertain"  # it may have reached the upstream, and may not be sent again


class Event(StrEnum):
    HELD = "held"
    ENDORSED = "endorsed"  # approved by one of several who must
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    RELEASED = "released"
    DISPATCHED = "dispatched"
    REDISPATCHED = "redispatched"  # after a crash, under the same idempotency key
    DONE = "done"
    FAILED = "failed"
    UNCERTAIN = "uncertain"


S, E = State, Event
MOVES: Mapping[tuple[str, Event], State] = {
    ("", E.HELD): S.PENDING,
    (S.PENDING, E.ENDORSED): S.PENDING,
    (S.PENDING, E.APPROVED): S.APPROVED,
    (S.PENDING, E.REJECTED): S.REJECTED,
    (S.PENDING, E.EXPIRED): S.EXPIRED,
    (S.APPROVED, E.RELEASED): S.RELEASED,
    (S.APPROVED, E.DISPATCHED): S.DISPATCHING,
    (S.APPROVED, E.FAILED): S.FAILED,
    (S.DISPATCHING, E.REDISPATCHED): S.DISPATCHING,
    (S.DISPATCHING, E.DONE): S.DONE,
    (S.DISPATCHING, E.FAILED): S.FAILED,
    (S.DISPATCHING, E.UNCERTAIN): S.UNCERTAIN,
}
# The sealed request is of no more use; its digest stays. After `failed` and `uncertain` a person may need to look.
FORGETTING = frozenset({S.DONE, S.REJECTED, S.EXPIRED, S.RELEASED})
ASKER = "left_to_asker"  # of a held request's summary: the service that asked for the decision does what is approved
APPROVALS = frozenset({E.ENDORSED, E.APPROVED})


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Who decides. `key_id` is that of the person's own key, by which the requester is known too."""

    id: str
    key_id: str
    roles: tuple[str, ...] = ()


def move(state: str, event: Event) -> State:
    """Raises ReviewError `review_not_pending` for what is no step from here."""
    after = MOVES.get((state, event))
    if after is None:
        raise ReviewError(f"The request is {state} and can no longer be {event}.", "review_not_pending")
    return after


def approval(review: Review, reviewer: Reviewer, content_digest: str, now_ns: int) -> Event:
    """The event that this person's approval is. Raises ReviewError where it is none."""
    held = review.held
    move(review.state, Event.APPROVED)
    _in_time(held, now_ns)
    _entitled(held, reviewer)
    if reviewer.key_id == held.subject_key_id:
        raise ReviewError("Nobody may approve their own request.", "self_approval")
    if content_digest != held.content_digest:
        raise ReviewError("The approval names another content than the one that is held.", "content_changed")
    before = approvers(review)
    if reviewer.key_id in before:
        raise ReviewError("The same person has approved it before; another one must.", "already_approved")
    return Event.APPROVED if len(before) + 1 >= quorum(held) else Event.ENDORSED


def rejection(review: Review, reviewer: Reviewer, now_ns: int) -> Event:
    """Whoever may approve may reject, and so may the one who asked. Raises ReviewError."""
    move(review.state, Event.REJECTED)
    _in_time(review.held, now_ns)
    if reviewer.key_id != review.held.subject_key_id:
        _entitled(review.held, reviewer)
    return Event.REJECTED


def approvers(review: Review) -> frozenset[str]:
    """Key ids of those who approved."""
    return frozenset(entry.key_id for entry in approvals(review))


def approvals(review: Review) -> tuple[Entry, ...]:
    """The record of each approval, sealed under its reviewer's key."""
    return tuple(entry for change in review.history if change.event in APPROVALS for entry in change.entries[:1])


def left_to_asker(held: Held) -> bool:
    """Whether nothing is sent from here once it is approved."""
    return held.summary.get(ASKER) is True


def quorum(held: Held) -> int:
    return max(1, int(held.summary.get("quorum", 1)))


def reviewer_roles(held: Held) -> tuple[str, ...]:
    return tuple(held.summary.get("reviewers", ()))


def _in_time(held: Held, now_ns: int) -> None:
    if now_ns >= held.expires_ns:
        raise ReviewError("The time for deciding about this request is over.", "review_expired")


def _entitled(held: Held, reviewer: Reviewer) -> None:
    roles = reviewer_roles(held)
    if roles and not set(roles) & set(reviewer.roles):
        raise ReviewError(f"Policy wants a reviewer with one of the roles {', '.join(roles)}.", "reviewer_role_missing")
