"""How people label, and decide about held requests, for who leads them; that somebody looked is on record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from router.adaptation.keeping import Keeping
from router.adaptation.labelling import KIND, SEEDED
from router.adaptation.reviewers import LEAST, Figure, Labelling
from router.audit.questions.reading import EVENT, Reading
from router.audit.records.record import system_entry
from router.control.services import Json
from router.decision import Subject
from router.errors import RefusedError
from router.ports import Clock, SubjectKeys
from router.times import instant
from router.wiring.deciding import Steps, deciding

MANY = 500
MONTH_NS = 30 * 86_400 * 1_000_000_000
SECOND_NS = 1_000_000_000


class ReviewerFigures:
    """`quick_s`: in less nobody reads a text. `reviews`: where decisions about held requests are kept, once they are."""

    def __init__(
        self, keeping: Keeping, keys: SubjectKeys, clock: Clock, quick_s: Callable[[], float], reviews: Callable[[], Steps | None]
    ) -> None:
        self._keeping = keeping
        self._keys = keys
        self._clock = clock
        self._quick_s = quick_s
        self._reviews = reviews

    async def told(self, since_ns: int | None, until_ns: int | None, by: Subject, tenant: str | None, span_ns: int = MONTH_NS) -> Json:
        """Of the last `span_ns` unless told otherwise. Raises RefusedError, AuditError, StateError, ReviewError."""
        until_ns = self._clock.now_ns() if until_ns is None else until_ns
        since_ns = until_ns - span_ns if since_ns is None else since_ns
        if since_ns >= until_ns:
            raise RefusedError("The period ends before it begins.", "request_invalid", 422)
        quick_s, store = self._quick_s(), self._reviews()
        people = await self._labelling(since_ns, until_ns, tenant, int(quick_s * SECOND_NS))
        decided = await deciding(store, since_ns, until_ns, tenant) if store is not None else []
        await self._note(f"answered >= {instant(since_ns)} and answered < {instant(until_ns)}", len(people) + len(decided), by)
        told = {"reviewers": _plain(people), "deciding": _plain(decided)}
        return {"since": instant(since_ns), "until": instant(until_ns), "least": LEAST, "quick_s": quick_s, **told}

    async def _labelling(self, since_ns: int, until_ns: int, tenant: str | None, quick_ns: int) -> list[dict[str, Any]]:
        """From tasks of which somebody said something since then. One that changes meanwhile comes again, and counts as it was first."""
        people, seen = Labelling(since_ns, until_ns), set[str]()
        for kind in (KIND, SEEDED):
            at_ns, after = since_ns, 0
            while page := await self._keeping.store.touched(kind, at_ns, after, MANY):
                for _, task in page:
                    if task.id not in seen and tenant in (None, task.terms["tenant"]):
                        people.take(task)
                seen.update(task.id for _, task in page)
                at_ns, after = page[-1][1].touched_ns, page[-1][0]
        return people.told(quick_ns)

    async def _note(self, asked: str, rows: int, by: Subject) -> None:
        """Before anybody sees it."""
        key_id, _ = await self._keys.key_for(by.id)
        await self._keeping.append([system_entry(EVENT, self._clock.now_ns(), Reading("reviewers", asked, rows).details(key_id))])


def _plain(people: Sequence[Mapping[str, Any]]) -> list[Json]:
    return [{name: asdict(value) if isinstance(value, Figure) else value for name, value in each.items()} for each in people]
