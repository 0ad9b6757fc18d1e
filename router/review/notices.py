"""Who is to be told what of a held request, and in which words. Decides only.

Everything follows from what is stored of the request, under ids that are the same whenever it is looked at: so it can be looked at again
after a crash, and by another node, and nothing is told twice for that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from router.ports import Notice, Review
from router.review.terms import reviewer_roles

NS = 1_000_000_000
HELD, ESCALATED, ASKED, EXPIRING = "held", "escalated", "information_asked", "expiring"
BREAK_GLASS = "break_glass"
EVENTS = (HELD, ESCALATED, ASKED, EXPIRING, BREAK_GLASS)
STEPS: Mapping[str, str] = {
    "held": HELD,
    "information_given": HELD,
    "superseded": HELD,  # judged anew, so that what was approved has to be approved again
    "escalated": ESCALATED,
    "information_asked": ASKED,
}
"""What of a review's steps people are told, and what it is called to them."""
SETTLED = frozenset(
    ("approved", "rejected", "expired", "released", "dispatching", "done", "failed", "uncertain", "superseded", "cancelled")
)
"""States in which nobody has to do anything any more. A state that is not known is one in which somebody may."""
KEPT_S = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Filter:
    """Empty parts are for everything. `routes` may have `*`; `roles` are those of whom policy wants a decision."""

    events: frozenset[str]
    risks: frozenset[str] = frozenset()
    routes: tuple[str, ...] = ()
    roles: frozenset[str] = frozenset()

    def wants(self, review: Review, event: str) -> bool:
        held = review.held
        return (
            event in self.events
            and (not self.risks or held.risk in self.risks)
            and (not self.routes or any(fnmatchcase(held.route, each) for each in self.routes))
            and (not self.roles or bool(self.roles.intersection(reviewer_roles(held))))
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """One notifier's settings: how long before the end it tells that time runs out, and for how long telling is tried."""

    name: str
    filter: Filter
    before_s: float
    patience_s: float


def notices(review: Review, wanted: Sequence[Wanted]) -> Iterator[Notice]:
    """All that are to be told of a review as it is, those too that were told. None of one that needs nobody any more."""
    if review.state in SETTLED:
        return
    for number, step in enumerate(review.history):
        event = STEPS.get(step.event)
        if event is not None:
            yield from (_notice(review, each, event, str(number), step.at_ns) for each in wanted if each.filter.wants(review, event))
    for each in wanted:
        if each.filter.wants(review, EXPIRING):
            held = review.held
            # Half of a short life, so that it does not come with the news that there is a request.
            due_ns = max(held.expires_ns - int(each.before_s * NS), (held.created_ns + held.expires_ns) // 2)
            yield _notice(review, each, EXPIRING, str(held.expires_ns), due_ns)


def alarms(mark: str, case: str, now_ns: int, until_ns: int, wanted: Sequence[Wanted]) -> Iterator[Notice]:
    """That somebody breaks the glass, under which incident and until when, to everybody who hears of such. `mark` names this one time.
    Whatever requests a channel is for, this is about none: no other filter counts."""
    for each in wanted:
        if BREAK_GLASS in each.filter.events:
            named = "\x00".join((mark, BREAK_GLASS, each.name))
            ends_ns = now_ns + int(each.patience_s * NS)
            yield Notice(
                id="ntc_" + hashlib.sha256(named.encode()).hexdigest()[:32],
                review=case,
                event=BREAK_GLASS,
                notifier=each.name,
                intent="",
                risk="critical",
                route="",
                expires_ns=until_ns,
                made_ns=now_ns,
                due_ns=now_ns,
                until_ns=ends_ns,
                keep_ns=max(until_ns, ends_ns) + int(KEPT_S * NS),
            )


def _notice(review: Review, wanted: Wanted, event: str, occasion: str, due_ns: int) -> Notice:
    held = review.held
    named = "\x00".join((held.decision_id, event, occasion, wanted.name))
    until_ns = due_ns + int(wanted.patience_s * NS)
    return Notice(
        id="ntc_" + hashlib.sha256(named.encode()).hexdigest()[:32],
        review=held.decision_id,
        event=event,
        notifier=wanted.name,
        intent=held.intent or "",
        risk=held.risk,
        route=held.route,
        expires_ns=held.expires_ns,
        made_ns=due_ns,
        due_ns=due_ns,
        until_ns=until_ns,
        keep_ns=max(held.expires_ns, until_ns) + int(KEPT_S * NS),
    )
