"""How people decide about held requests: how many, how fast, how late, and whether anybody looked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from router.audit.questions.columns import NS
from router.audit.questions.query import Query, Trail
from router.audit.questions.where import where

COLUMNS = ("event", "reviewer", "waited", "self_review")
WAITING = ("held", "deadline", "review", "quorum")


@dataclass(slots=True)
class Person:
    """One reviewer, by key id. `quick` were approved sooner than anybody can read, `late` after the agreed time, `own` are their own
    requests. `waited` has the seconds from being held to each of their decisions; `record` is one of these."""

    key_id: str
    record: int
    approved: int = 0
    rejected: int = 0
    quick: int = 0
    late: int = 0
    own: int = 0
    waited: list[float] = field(default_factory=list)

    @property
    def decided(self) -> int:
        return self.approved + self.rejected

    @property
    def quick_share(self) -> float:
        """The rubber-stamp rate."""
        return self.quick / self.approved if self.approved else 0.0


@dataclass(slots=True)
class Oversight:
    """`expired` were closed by time-out; `waiting` wait now, `overdue` of them for longer than agreed."""

    people: list[Person]
    held: int = 0
    expired: int = 0
    waiting: int = 0
    overdue: int = 0


def oversight(trail: Trail, query: Query, sla_ns: int | None, quick_ns: int, now_ns: int) -> Oversight:
    """Of reviews that `query` selects. Without an agreed time a request is late, or overdue, once its own deadline has passed."""
    people: dict[int, Person] = {}
    found = Oversight([])
    for row in trail.rows(_reviews(query), (*COLUMNS, "deadline", "held")):
        found.held += row["event"] == "held"
        found.expired += row["event"] == "expired"
        if row["reviewer"] is not None:
            person = people.get(row["reviewer"])
            if person is None:
                person = people[row["reviewer"]] = Person(trail.id("reviewer", row["reviewer"]) or "", row["record"])
            _add(person, row, sla_ns, quick_ns)
    found.people = sorted(people.values(), key=lambda one: (-one.decided, one.key_id))
    for row in trail.rows(_waiting(query), WAITING):
        found.waiting += 1
        found.overdue += now_ns > (row["deadline"] or now_ns) if sla_ns is None else now_ns - row["held"] > sla_ns
    return found


def percentile(values: Sequence[float], percent: int) -> float | None:
    """Nearest rank."""
    return sorted(values)[max(0, ceil(percent * len(values) / 100) - 1)] if values else None


def _add(person: Person, row: dict[str, Any], sla_ns: int | None, quick_ns: int) -> None:
    approved = row["event"] != "rejected"
    person.approved += approved
    person.rejected += not approved
    person.own += row["self_review"] == 1
    if row["waited"] is None:
        return
    person.waited.append(row["waited"] / NS)
    person.quick += approved and row["waited"] < quick_ns
    person.late += sla_ns is not None and row["waited"] > sla_ns


def _reviews(query: Query) -> Query:
    return _with(query, "kind = 'review' and event in ('held', 'approved', 'modified', 'rerouted', 'rejected', 'expired')")


def _waiting(query: Query) -> Query:
    return _with(query, "kind = 'decision' and review = 'held'")


def _with(query: Query, text: str) -> Query:
    return query.also(where(text))
