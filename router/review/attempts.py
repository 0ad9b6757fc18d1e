"""What a person may try with a held request, and the rules that hold whatever policy says. Policy is asked besides (`policing`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from router.errors import ReviewError
from router.identity.break_glass import METHOD as BREAK_GLASS
from router.ports import Review
from router.review import deadlines, terms
from router.review.approving import Approval
from router.review.state import OPEN, UNDECIDED, Event, State, said


class Kind(StrEnum):
    CLAIM = "claim"
    RELEASE = "release"
    APPROVE = "approve"
    REJECT = "reject"
    MODIFY = "modify"
    REROUTE = "reroute"
    ASK = "ask"
    ANSWER = "answer"
    ESCALATE = "escalate"
    CANCEL = "cancel"


APPROVING = frozenset({Kind.APPROVE, Kind.MODIFY, Kind.REROUTE})
BY_ASKER = frozenset({Kind.ANSWER, Kind.CANCEL})
FROM = {Kind.RELEASE: (State.ASSIGNED,), Kind.ANSWER: (State.MORE_INFORMATION,)}
DONE = {
    Kind.CLAIM: "claimed",
    Kind.RELEASE: "given back",
    Kind.APPROVE: "approved",
    Kind.REJECT: "rejected",
    Kind.MODIFY: "modified",
    Kind.REROUTE: "rerouted",
    Kind.ASK: "asked about",
    Kind.ANSWER: "added to",
    Kind.ESCALATE: "escalated",
    Kind.CANCEL: "cancelled",
}
AT_ANY_TIME = frozenset({Kind.REJECT, Kind.CANCEL, Kind.ESCALATE})  # also while somebody is waited for


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Who tries. `key_id` is that of the person's own key, by which the requester is known too; `acting` those of whom they act for, or who
    act for them."""

    id: str
    key_id: str
    roles: tuple[str, ...] = ()
    acting: frozenset[str] = frozenset()
    groups: tuple[str, ...] = ()
    tenant: str | None = None
    type: str = "user"
    authenticated_by: str = ""

    @property
    def people(self) -> frozenset[str]:
        return self.acting | {self.key_id}


@dataclass(frozen=True, slots=True)
class Attempt:
    """`digest` is what the reviewer saw, where the attempt is about that; `asker`: key ids of the requester and of everybody in whose
    name, or by whom, the request was made; `given` are the approvals that count. `maker`: key id of who made the API key that it was asked
    with, and so could have asked; they gain nothing by it that only who asked may do."""

    kind: Kind
    review: Review
    reviewer: Reviewer
    asker: frozenset[str]
    given: Sequence[Approval]
    now_ns: int
    digest: str | None = None
    route: str | None = None
    maker: str | None = None

    @property
    def by_asker(self) -> bool:
        return bool(self.reviewer.people & self.asker)


def check(attempt: Attempt) -> None:
    """Raises ReviewError with the first rule that is against it."""
    in_state(attempt.kind, attempt.review.state)
    _in_time(attempt)
    if attempt.kind in BY_ASKER or (attempt.kind is Kind.REJECT and attempt.by_asker):
        if not attempt.by_asker:
            raise ReviewError("Only who asked for the request may do this.", "not_requester")
        return
    _entitled(attempt)
    if attempt.kind in APPROVING and attempt.reviewer.authenticated_by == BREAK_GLASS:
        raise ReviewError(
            "Break-glass is nobody in particular, so it may be who asked: it approves nothing, and can reject.", "self_approval"
        )
    if attempt.by_asker:
        raise ReviewError("Nobody may decide about their own request, nor for who asked.", "self_approval")
    if attempt.kind is not Kind.REJECT and attempt.maker in attempt.reviewer.people:
        raise ReviewError("Who made the key that this was asked with could have asked it, so they can only reject it.", "self_approval")
    if attempt.digest is not None and attempt.digest != terms.covers(attempt.review.held):
        raise ReviewError("This names another content than the one that is held now.", "content_changed")
    _unclaimed(attempt)
    if attempt.kind is Kind.APPROVE and any(attempt.reviewer.people & each.people for each in attempt.given):
        raise ReviewError("The same person has approved it before; another one must.", "already_approved")


def in_state(kind: Kind, state: str) -> None:
    """Raises ReviewError `review_not_pending`."""
    allowed = FROM.get(kind, UNDECIDED if kind in AT_ANY_TIME else OPEN)
    if state not in allowed:
        when = f"cannot be {DONE[kind]} now" if state in UNDECIDED else f"can no longer be {DONE[kind]}"
        raise ReviewError(f"The request is {said(state)} and {when}.", "review_not_pending")


def _in_time(attempt: Attempt) -> None:
    """A claim that is over, or a level that is to change, is no reason against what is tried: the round takes those steps."""
    if deadlines.overdue(attempt.review, attempt.now_ns) in (Event.EXPIRED, Event.EXPIRY_ALLOWED):
        raise ReviewError("The time for deciding about this request is over.", "review_expired")


def _entitled(attempt: Attempt) -> None:
    roles = terms.reviewer_roles(attempt.review.held)
    if roles and not set(roles) & set(attempt.reviewer.roles):
        raise ReviewError(f"Policy wants a reviewer with one of the roles {', '.join(roles)}.", "reviewer_role_missing")


def _unclaimed(attempt: Attempt) -> None:
    review, own = attempt.review, attempt.reviewer.key_id
    holder = deadlines.claimant(review)
    if not holder:
        return
    over = attempt.now_ns >= deadlines.claimed_until(review.held, review.history)
    if holder != own and (attempt.kind is Kind.RELEASE or not over):
        raise ReviewError("Another reviewer has claimed it.", "review_claimed")
