"""The states of a held request and the steps between them. Decides nothing about people (`attempts`) and keeps nothing (the store).

            ┌───────────── claimed · unclaimed · lapsed ─────────────┐
pending ──▶ assigned      escalated (as pending, for a level's people)│
   │  ▲        └──────────────────┬───────────────────────────────────┘
   │  └─ information_given ─ more_information
   ├─▶ approved ─▶ dispatching ─▶ done | failed | uncertain
   │      ├─▶ released                    (whoever asked for the decision goes ahead)
   │      └─▶ pending | superseded        (it would be judged otherwise now)
   └─▶ rejected | expired | cancelled | superseded
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from itertools import product

from router.errors import ReviewError


class State(StrEnum):
    PENDING = "pending"
    ASSIGNED = "assigned"  # a reviewer has claimed it, for as long as the claim lasts
    ESCALATED = "escalated"  # as pending, but only those of its level may decide
    MORE_INFORMATION = "more_information"  # a reviewer asked; it waits for whoever asked for the request
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"  # by whoever asked for it
    SUPERSEDED = "superseded"  # what was held would be denied now
    RELEASED = "released"  # whoever asked for the decision may go ahead; nothing is sent from here
    DISPATCHING = "dispatching"
    DONE = "done"  # the upstream answered, whatever it said
    FAILED = "failed"  # nothing reached the upstream
    UNCERTAIN = "uncertain"  # it may have reached the upstream, and may not be sent again


class Event(StrEnum):
    HELD = "held"
    CLAIMED = "claimed"
    RENEWED = "renewed"
    UNCLAIMED = "unclaimed"  # given back by whoever claimed it
    LAPSED = "lapsed"  # the claim was over
    ENDORSED = "endorsed"  # approved by one of several who must
    APPROVED = "approved"
    MODIFIED = "modified"  # approved with changes, by the one who made them
    REROUTED = "rerouted"  # approved for another route, by the one who chose it
    REJECTED = "rejected"
    INFORMATION_ASKED = "information_asked"
    INFORMATION_GIVEN = "information_given"
    ESCALATED = "escalated"
    EXPIRED = "expired"
    EXPIRY_ALLOWED = "expiry_allowed"  # nobody decided, and policy had said that it may go then
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"  # judged again, otherwise: what was approved does not count any more
    RELEASED = "released"
    DISPATCHED = "dispatched"
    REDISPATCHED = "redispatched"  # after a crash, under the same idempotency key
    DONE = "done"
    FAILED = "failed"
    UNCERTAIN = "uncertain"


S, E = State, Event
OPEN = (S.PENDING, S.ASSIGNED, S.ESCALATED)
UNDECIDED = (*OPEN, S.MORE_INFORMATION)
RESTING = frozenset({S.PENDING, S.ESCALATED})  # by level, see `terms.resting`
Moves = Mapping[tuple[str, Event], frozenset[State]]


def _moves() -> Moves:
    """A step that may lead to several states says which when it is taken."""
    found: dict[tuple[str, Event], frozenset[State]] = {
        ("", E.HELD): frozenset({S.PENDING}),
        (S.ASSIGNED, E.RENEWED): frozenset({S.ASSIGNED}),
        (S.ASSIGNED, E.UNCLAIMED): RESTING,
        (S.ASSIGNED, E.LAPSED): RESTING,
        (S.APPROVED, E.SUPERSEDED): RESTING | {S.SUPERSEDED},
        (S.APPROVED, E.RELEASED): frozenset({S.RELEASED}),
        (S.APPROVED, E.DISPATCHED): frozenset({S.DISPATCHING}),
        (S.APPROVED, E.FAILED): frozenset({S.FAILED}),
        (S.DISPATCHING, E.REDISPATCHED): frozenset({S.DISPATCHING}),
        (S.DISPATCHING, E.DONE): frozenset({S.DONE}),
        (S.DISPATCHING, E.FAILED): frozenset({S.FAILED}),
        (S.DISPATCHING, E.UNCERTAIN): frozenset({S.UNCERTAIN}),
    }
    for state, event in product(RESTING, (E.CLAIMED,)):
        found[state, event] = frozenset({S.ASSIGNED})
    by_reviewers: dict[Event, frozenset[State]] = {
        E.ENDORSED: RESTING,
        E.APPROVED: frozenset({S.APPROVED}),
        E.MODIFIED: RESTING | {S.APPROVED},
        E.REROUTED: RESTING | {S.APPROVED},
        E.INFORMATION_ASKED: frozenset({S.MORE_INFORMATION}),
    }
    found |= {(state, event): after for state, (event, after) in product(OPEN, by_reviewers.items())}
    anyhow: dict[Event, frozenset[State]] = {
        E.REJECTED: frozenset({S.REJECTED}),
        E.ESCALATED: frozenset({S.ESCALATED}),
        E.INFORMATION_GIVEN: RESTING,
        E.EXPIRED: frozenset({S.EXPIRED}),
        E.EXPIRY_ALLOWED: frozenset({S.APPROVED}),
        E.CANCELLED: frozenset({S.CANCELLED}),
        E.SUPERSEDED: RESTING | {S.SUPERSEDED},
    }
    return found | {(state, event): after for state, (event, after) in product(UNDECIDED, anyhow.items())}


MOVES: Moves = _moves()
# The sealed request is of no more use; its digest stays. After `failed` and `uncertain` a person may need to look.
FORGETTING = frozenset({S.DONE, S.REJECTED, S.EXPIRED, S.CANCELLED, S.SUPERSEDED, S.RELEASED})
SAID: Mapping[str, str] = {S.MORE_INFORMATION: "waiting for an answer", S.DISPATCHING: "being sent"}
APPROVALS = frozenset({E.ENDORSED, E.APPROVED, E.MODIFIED, E.REROUTED})


def said(state: str) -> str:
    """After "the request is"."""
    return SAID.get(state, state.replace("_", " "))


def move(state: str, event: Event, to: State | None = None) -> State:
    """Raises ReviewError `review_not_pending` for what is no step from here."""
    after = MOVES.get((state, event), frozenset())
    if to is None and len(after) == 1:
        return next(iter(after))
    if to is None or to not in after:
        raise ReviewError(f"The request is {said(state)} and can no longer be {event.replace('_', ' ')}.", "review_not_pending")
    return to
