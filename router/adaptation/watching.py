"""Reads what was sampled and labelled within a window."""

from __future__ import annotations

from dataclasses import dataclass

from router.adaptation.labelling import KIND
from router.adaptation.samples import DAY_NS, Sample, full_days, sample
from router.ports import Lessons

MANY, MOST = 500, 20_000


@dataclass(frozen=True, slots=True)
class Window:
    """Decisions from `since_ns` up to `until_ns`, of one tenant or of all."""

    since_ns: int
    until_ns: int
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class Sampled:
    """The newest first. `full`: days on which a cap was reached, seen whole even where the window has a part of them. `more`: there were
    more than are looked at."""

    samples: tuple[Sample, ...]
    full: frozenset[tuple[str, str]]
    more: bool


async def sampled(store: Lessons, window: Window, a_day: int) -> Sampled:
    """No more than MOST, so that it takes no longer than it took. Raises StateError."""
    found, seen, before, more = list[Sample](), 0, None, False
    begin_ns = window.since_ns - window.since_ns % DAY_NS
    while page := await store.newest(KIND, before, MANY):
        found += [sample(task) for _, task in page if task.at_ns >= begin_ns and window.tenant in (None, task.terms["tenant"])]
        seen, before = seen + len(page), page[-1][0]
        if page[-1][1].at_ns < begin_ns:  # a decision is older than its task
            break
        if seen >= MOST:
            more = True
            break
    inside = tuple(each for each in found if window.since_ns <= each.decided_ns < window.until_ns)
    return Sampled(inside, full_days(found, a_day) & {each.day for each in inside}, more)
