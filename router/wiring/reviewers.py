"""How people label, for who leads them; that somebody looked is on record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from router.adaptation.keeping import Keeping
from router.adaptation.labelling import KIND, SEEDED
from router.adaptation.reviewers import LEAST, Figure, figures
from router.audit.questions.reading import EVENT, Reading
from router.audit.records.record import system_entry
from router.control.services import Json
from router.decision import Subject
from router.errors import RefusedError
from router.ports import Clock, Lesson, SubjectKeys
from router.times import instant

MANY = 500
MONTH_NS = 30 * 86_400 * 1_000_000_000
SECOND_NS = 1_000_000_000


class ReviewerFigures:
    """`quick_s`: in less nobody reads a text."""

    def __init__(self, keeping: Keeping, keys: SubjectKeys, clock: Clock, quick_s: Callable[[], float]) -> None:
        self._keeping = keeping
        self._keys = keys
        self._clock = clock
        self._quick_s = quick_s

    async def told(self, since_ns: int | None, until_ns: int | None, by: Subject, tenant: str | None, span_ns: int = MONTH_NS) -> Json:
        """Of the last `span_ns` unless told otherwise. Raises RefusedError, AuditError, StateError."""
        until_ns = self._clock.now_ns() if until_ns is None else until_ns
        since_ns = until_ns - span_ns if since_ns is None else since_ns
        if since_ns >= until_ns:
            raise RefusedError("The period ends before it begins.", "request_invalid", 422)
        tasks = [task for kind in (KIND, SEEDED) for task in await self._every(kind) if tenant in (None, task.terms["tenant"])]
        quick_s = self._quick_s()
        people = figures(tasks, since_ns, until_ns, int(quick_s * SECOND_NS))
        await self._note(f"answered >= {instant(since_ns)} and answered < {instant(until_ns)}", len(people), by)
        shown = [{name: asdict(value) if isinstance(value, Figure) else value for name, value in each.items()} for each in people]
        return {"since": instant(since_ns), "until": instant(until_ns), "least": LEAST, "quick_s": quick_s, "reviewers": shown}

    async def _every(self, kind: str) -> list[Lesson]:
        found, after = list[Lesson](), 0
        while page := await self._keeping.store.page(kind, [], after, MANY):
            found += [each for _, each in page]
            after = page[-1][0]
        return found

    async def _note(self, asked: str, rows: int, by: Subject) -> None:
        """Before anybody sees it."""
        key_id, _ = await self._keys.key_for(by.id)
        await self._keeping.append([system_entry(EVENT, self._clock.now_ns(), Reading("reviewers", asked, rows).details(key_id))])
