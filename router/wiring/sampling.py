"""Samples for people to label, taken from the ledger after the fact: nothing waits for it, and no decision is another one because of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from router.adaptation.keeping import Keeping
from router.adaptation.labelling import KIND, OPEN, LabelService
from router.adaptation.sampling import Rates, Strategy, draw, probability, strategies, task_id
from router.adaptation.seeding import KnownAnswers, Seeds
from router.audit.questions.query import Found
from router.config.learning import SamplingConfig
from router.control.services import Json, Page
from router.cursors import place_after
from router.decision import Subject
from router.ports import Clock, Lesson, SubjectKeys
from router.times import instant
from router.wiring.reviewers import MONTH_NS, ReviewerFigures

CURSOR, THE_ONE = "sampling", "cursor"
SAMPLING = "\x00lockgate sampling"  # among the subjects' keys; no subject's id begins so
MANY = 500
DAY = len("2026-01-01")
KEPT_DAYS = 2


class Trail(Protocol):
    async def size(self) -> int: ...

    async def decisions_after(self, record: int, limit: int) -> Sequence[Found]:
        """In the ledger's order, nothing opened."""


@dataclass(slots=True)
class _Progress:
    """`days`: of each day, tenant and strategy how many were taken. Follows from the ledger alone, so that a batch that a crash cut off
    comes out the same when it is done once more."""

    after: int
    days: dict[str, Counter[str]]
    counts: Counter[str]
    version: int = 0

    def admitted(self, day: str, tenant: str | None, wanted: Sequence[Strategy], most: int) -> tuple[Strategy, ...]:
        taken = self.days.setdefault(day, Counter())
        fits = tuple(each for each in wanted if taken[f"{each}:{tenant or ''}"] < most)
        taken.update(f"{each}:{tenant or ''}" for each in fits)
        return fits

    def lesson(self, at_ns: int) -> Lesson:
        kept = {day: dict(self.days[day]) for day in sorted(self.days)[-KEPT_DAYS:]}
        terms = {"after": self.after, "days": kept, "counts": dict(self.counts)}
        return Lesson(CURSOR, THE_ONE, "", "", at_ns, terms, version=self.version)


class Sampler:
    """What happens, and what a crash there means: 1 decisions are read from where it stopped; 2 tasks are put, under ids that follow from
    their decisions; 3 the place is put. Between 2 and 3 the same is done once more, and so it is by two nodes at once."""

    def __init__(
        self,
        keeping: Keeping,
        trail: Trail,
        keys: SubjectKeys,
        clock: Clock,
        settings: Callable[[], SamplingConfig | None],
        known: KnownAnswers,
    ) -> None:
        self._keeping = keeping
        self._trail = trail
        self._keys = keys
        self._clock = clock
        self._settings = settings
        self._known = known

    async def round(self) -> None:
        """Raises AuditError, StateError."""
        settings = self._settings()
        if settings is None:
            return
        progress = await self._progress()
        if progress is None:  # what was decided before anybody wanted samples is not sampled
            progress = _Progress(await self._trail.size() - 1, {}, Counter())
            await self._keep(progress)
            return
        while found := await self._trail.decisions_after(progress.after, MANY):
            await self._take(found, progress, settings)
            progress.after = found[-1].index
            if not await self._keep(progress):
                return  # another node was quicker
            progress.version += 1

    async def counts(self) -> dict[str, int]:
        progress = await self._progress()
        return {} if progress is None else dict(sorted(progress.counts.items()))

    async def _take(self, found: Sequence[Found], progress: _Progress, settings: SamplingConfig) -> None:
        _, key = await self._keys.key_for(SAMPLING)
        rates, seeded = _rates(settings), settings.seeded
        seeds = Seeds(self._known, key, seeded.share, seeded.agreement) if seeded is not None else None
        for each in found:
            wanted = strategies(key, each.leaf["id"], each.leaf.get("classification") or {}, rates)
            if not wanted:
                continue
            progress.counts[await self._taken(each, wanted, progress, key, rates, seeds)] += 1

    async def _taken(
        self, found: Found, wanted: Sequence[Strategy], progress: _Progress, key: bytes, rates: Rates, seeds: Seeds | None
    ) -> str:
        """What to count it as. Whether there is a text is seen by the leaf, so that nothing is opened for it."""
        if "text" not in (found.leaf.get("commitments") or {}):
            return "no_text"
        tenant = found.leaf["subject"]["tenant"]
        taken = progress.admitted(found.leaf["time"][:DAY], tenant, wanted, rates.a_day)
        if not taken:
            return "capped"
        task = self._task(found, taken, tenant, key, rates)
        seed = await seeds.beside(task, _people(key, f"seeded {task.about}", rates), task.at_ns) if seeds is not None else None
        both = [task] if seeds is None or seed is None else [seed, task] if seeds.first(task) else [task, seed]
        for each in both:
            if not each.version:  # else it was put before a crash, as where this says False
                await self._keeping.store.put(each, [], "", 0)
        if seed is not None:
            progress.counts["seeded"] += 1
        return "sampled"

    def _task(self, found: Found, taken: Sequence[Strategy], tenant: str | None, key: bytes, rates: Rates) -> Lesson:
        decision_id, classified = found.leaf["id"], found.leaf["classification"]
        terms: dict[str, Any] = {
            "strategies": [each.value for each in taken],
            "probability": f"{probability(classified, rates):.6f}",
            "chance": f"{rates.random:.6f}",
            "decided": found.leaf["time"],
            "tenant": tenant,
            "subject": found.columns["key_id"] or "",
            "wanted": _people(key, decision_id, rates),
            "classified": classified.get("intent"),
            **{name: classified.get(name) for name in ("status", "confidence", "margin", "tier", "model_digest")},
            "catalog_digest": found.leaf["catalog_digest"],
            "claims": {},
            "answers": {},
            "skipped": [],
        }
        return Lesson(KIND, task_id(key, decision_id), decision_id, OPEN, self._clock.now_ns(), terms)

    async def _progress(self) -> _Progress | None:
        known = await self._keeping.store.get(CURSOR, THE_ONE)
        if known is None:
            return None
        days = {day: Counter(taken) for day, taken in known.terms["days"].items()}
        return _Progress(known.terms["after"], days, Counter(known.terms["counts"]), known.version)

    async def _keep(self, progress: _Progress) -> bool:
        return await self._keeping.store.put(progress.lesson(self._clock.now_ns()), [], "", 0)


def _rates(settings: SamplingConfig) -> Rates:
    people = 2 if settings.seeded is None else settings.seeded.agreement
    return Rates(
        settings.random,
        settings.uncertain,
        settings.confidence,
        settings.margin,
        settings.a_day,
        settings.overlap,
        people,
        settings.disagree,
    )


def _people(key: bytes, what: str, rates: Rates) -> int:
    return rates.people if draw(key, "overlap", what) < rates.overlap else 1


@dataclass(frozen=True, slots=True)
class LabelDesk:
    """Implements the control API's port. `intents` gives what may be said, with its description."""

    service: LabelService
    sampler: Sampler
    known: KnownAnswers
    figures: ReviewerFigures
    intents: Callable[[], Mapping[str, str]]
    tenant: str | None = None

    def within(self, tenant: str) -> LabelDesk:
        return replace(self, tenant=tenant)

    async def list(self, by: Subject, cursor: str | None, limit: int) -> Page:
        found, following = await self.service.page(by, self.tenant, place_after(cursor) or 0, limit)
        return Page(found, None if following is None else str(following))

    async def claim(self, by: Subject) -> Json | None:
        claimed = await self.service.claim(by, self.tenant)
        if claimed is None:
            return None
        return self._told(*claimed)

    async def shown(self, task_id: str, by: Subject) -> Json:
        return self._told(*await self.service.shown(task_id, by, self.tenant))

    async def answer(self, task_id: str, label: str, by: Subject) -> Json:
        return {"id": (await self.service.answer(task_id, label, by, self.tenant)).id, "label": label}

    async def skip(self, task_id: str, by: Subject) -> Json:
        return {"id": (await self.service.skip(task_id, by, self.tenant)).id, "label": None}

    async def sampled(self) -> Json:
        return await self.sampler.counts()

    async def name(self, decision_id: str, label: str, by: Subject) -> Json:
        return await self.known.name(decision_id, label, by, self.tenant)

    async def withdraw(self, decision_id: str, by: Subject) -> Json:
        return await self.known.withdraw(decision_id, by, self.tenant)

    async def named(self, cursor: str | None, limit: int) -> Page:
        found, following = await self.known.page(self.tenant, place_after(cursor) or 0, limit)
        return Page(found, None if following is None else str(following))

    async def reviewers(self, since_ns: int | None, until_ns: int | None, by: Subject, span_ns: int = MONTH_NS) -> Json:
        return await self.figures.told(since_ns, until_ns, by, self.tenant, span_ns)

    def _told(self, task: Lesson, text: str | None, until_ns: int) -> Json:
        intents = [{"name": name, "description": told} for name, told in self.intents().items()]
        return {"id": task.id, "text": text, "intents": intents, "until": instant(until_ns)}
