"""How reviewers decide about held requests, each by the key that stands for them: how long after they claimed, and how often as others did.

A decision without a claim before it has no time: when somebody first looked is not kept, for looking changes nothing. The one who disagrees
with the first of several may not be asked any more, and a rejection ends what it is about: agreement says more of approvals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from router.adaptation.reviewers import Figure, nearest_rank, share
from router.ports import ReviewStep, Stepped
from router.review.state import APPROVALS, Event

DECISIONS = (*sorted(APPROVALS), Event.REJECTED)
# The content is another one from then on, and what was said before does not count for it.
_ANEW = frozenset({Event.MODIFIED, Event.REROUTED, Event.SUPERSEDED})
MANY = 500


class Steps(Protocol):
    async def stepped(
        self, events: Sequence[str], since_ns: int, after: str, until_ns: int, limit: int, tenant: str | None = None
    ) -> Sequence[Stepped]: ...


@dataclass(frozen=True, slots=True)
class Said:
    """A decision of somebody; `dwell_ns` from their claim, None without one."""

    key_id: str
    rejected: bool
    at_ns: int
    dwell_ns: int | None


@dataclass(slots=True)
class _Person:
    rejected: int = 0
    decided: int = 0
    dwells_ns: list[int] = field(default_factory=list)
    agreed: list[float] = field(default_factory=list)

    def told(self, key_id: str) -> dict[str, Any]:
        dwells = sorted(self.dwells_ns)
        return {
            "reviewer": key_id,
            "decided": self.decided,
            "rejected": share(self.rejected, self.decided),
            "agreement": share(sum(self.agreed), len(self.agreed)) if self.agreed else Figure(0),
            "claimed": len(dwells),
            "median_s": nearest_rank(dwells, 0.5),
            "p90_s": nearest_rank(dwells, 0.9),
        }


def rounds(steps: Iterable[ReviewStep]) -> Iterator[list[Said]]:
    """What people said of the same content. A claim counts until the next step but its renewal."""
    found, claim = list[Said](), None
    for step in steps:
        if step.event in _ANEW and found:
            yield found
            found = []
        if step.event in DECISIONS and step.key_id:
            held = claim is not None and claim.key_id == step.key_id
            found.append(Said(step.key_id, step.event == Event.REJECTED, step.at_ns, step.at_ns - claim.at_ns if claim and held else None))
        claim = step if step.event == Event.CLAIMED else claim if step.event == Event.RENEWED else None
    if found:
        yield found


async def deciding(store: Steps, since_ns: int, until_ns: int, tenant: str | None) -> list[dict[str, Any]]:
    """Of everybody who decided from `since_ns` on and before `until_ns`, by their keys. Raises ReviewError."""
    people: dict[str, _Person] = {}
    seen, at_ns, after = set[str](), since_ns, ""
    while page := await store.stepped(DECISIONS, at_ns, after, until_ns, MANY, tenant):
        for found in page:
            if found.decision_id not in seen:  # it comes with each decision about it
                seen.add(found.decision_id)
                _count(people, found.steps, since_ns, until_ns)
        at_ns, after = page[-1].at_ns, page[-1].decision_id
    return [people[key_id].told(key_id) for key_id in sorted(people)]


def _count(people: dict[str, _Person], steps: Iterable[ReviewStep], since_ns: int, until_ns: int) -> None:
    for said in rounds(steps):
        for one in said:
            if since_ns <= one.at_ns < until_ns:
                _take(people.setdefault(one.key_id, _Person()), one, [each for each in said if each.key_id != one.key_id])


def _take(person: _Person, one: Said, others: Sequence[Said]) -> None:
    person.decided += 1
    person.rejected += one.rejected
    if one.dwell_ns is not None:
        person.dwells_ns.append(one.dwell_ns)
    if others:
        person.agreed.append(sum(each.rejected == one.rejected for each in others) / len(others))
