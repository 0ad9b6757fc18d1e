"""Reads what was sampled and labelled within a window, and measures it."""

from __future__ import annotations

from router.adaptation.labelling import KIND
from router.adaptation.samples import Sample, sample
from router.ports import Lessons

MANY, MOST = 500, 20_000


async def samples_of(store: Lessons, since_ns: int, until_ns: int, tenant: str | None = None) -> tuple[list[Sample], bool]:
    """(samples of decisions from `since_ns` up to `until_ns`, of one tenant or of all; whether there were more than are looked at). The
    newest first, and no more than MOST, so that it takes no longer than it took. Raises StateError."""
    found, seen, before = list[Sample](), 0, None
    while page := await store.newest(KIND, before, MANY):
        for _, task in page:
            if task.at_ns < since_ns:  # a decision is older than its task
                return found, False
            each = sample(task)
            if since_ns <= each.decided_ns < until_ns and tenant in (None, task.terms["tenant"]):
                found.append(each)
        seen, before = seen + len(page), page[-1][0]
        if seen >= MOST:
            return found, True
    return found, False
