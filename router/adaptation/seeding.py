"""Texts whose label is known already, given to people among the others: how well they label is told by what they say of these.

Known is what enough people said alike, each for themselves, and what a lead named. What is said of a seeded text counts for that alone: it
is no opinion about the decision, and no label a second time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from router.adaptation.feedback import Decisions
from router.adaptation.keeping import Keeping
from router.adaptation.labelling import GONE, OPEN, OUT_OF_SCOPE, SEEDED, UNSURE
from router.adaptation.labelling import KIND as TASK
from router.adaptation.sampling import draw, task_id
from router.audit.records.record import system_entry
from router.decision import Subject
from router.errors import AuditError, RefusedError, StateError
from router.ports import Clock, Lesson, SubjectKeys
from router.times import instant

KIND, EVENT = "label_known", "label_known"
KNOWN, WITHDRAWN = "known", "withdrawn"
MANY, ATTEMPTS = 200, 5


@dataclass(frozen=True, slots=True)
class Known:
    """`by`: the key of the lead who named it, who is not asked; empty for what people agreed on."""

    decision_id: str
    label: str
    tenant: str | None
    subject: str
    by: str = ""


def agreed(task: Lesson, least: int) -> str | None:
    """The label that at least so many gave, and nobody another one."""
    said = {answer["label"] for answer in task.terms["answers"].values()}
    enough = len(task.terms["answers"]) >= least
    return said.pop() if enough and len(said) == 1 and UNSURE not in said else None


class KnownAnswers:
    """`intents` are the catalog's."""

    def __init__(
        self, keeping: Keeping, decisions: Decisions, keys: SubjectKeys, clock: Clock, intents: Callable[[], Collection[str]]
    ) -> None:
        self._keeping = keeping
        self._decisions = decisions
        self._keys = keys
        self._clock = clock
        self._intents = intents

    async def name(self, decision_id: str, label: str, by: Subject, tenant: str | None) -> dict[str, Any]:
        """Of a lead, who has seen the decision. Raises RefusedError, AuditError, StateError."""
        if label != OUT_OF_SCOPE and label not in self._intents():
            raise RefusedError(f"The catalog has no intent '{label}'.", "feedback_intent_unknown", 422)
        await self._keeping.ping()
        leaf, subject = await self._leaf(decision_id, tenant)
        if "text" not in (leaf.get("commitments") or {}):
            raise RefusedError("No text of that decision is kept, so nobody could label it.", "label_no_text", 409)
        terms = {"label": label, "tenant": leaf["subject"]["tenant"], "subject": subject}
        return await self._put(decision_id, KNOWN, terms, by)

    async def withdraw(self, decision_id: str, by: Subject, tenant: str | None) -> dict[str, Any]:
        """Also of what people agreed on: it is seeded no more. What was seeded before is left as it is."""
        await self._keeping.ping()
        leaf, subject = await self._leaf(decision_id, tenant)
        terms = {"label": "", "tenant": leaf["subject"]["tenant"], "subject": subject}
        return await self._put(decision_id, WITHDRAWN, terms, by)

    async def page(self, tenant: str | None, after: int, limit: int) -> tuple[list[dict[str, Any]], int | None]:
        """What leads said; (those, the place after which the next page begins)"""
        found = list[dict[str, Any]]()
        async for place, each in self._every(KIND, (), after):
            if tenant is None or each.terms["tenant"] == tenant:
                found.append(view(each))
            if len(found) == limit:
                return found, place
        return found, None

    async def pool(self, least: int) -> list[Known]:
        """What may be seeded now: nothing that people are given already, that lost its text, or whose intent is gone. What was seeded least
        comes first. Reads every task there is, so it is asked for only where one is to be chosen."""
        said = {each.about: each async for _, each in self._every(KIND, ())}
        found = {name: _named(each) for name, each in said.items() if each.state == KNOWN}
        used, closed = Counter[str](), set[str]()
        async for _, task in self._every(TASK, ()):
            if task.state in (OPEN, GONE):
                closed.add(task.about)
            elif task.about not in said and (label := agreed(task, least)) is not None:
                found[task.about] = Known(task.about, label, task.terms["tenant"], task.terms["subject"])
        async for _, seed in self._every(SEEDED, ()):
            used[seed.about] += 1
            if seed.state in (OPEN, GONE):
                closed.add(seed.about)
        labels = {OUT_OF_SCOPE, *self._intents()}
        usable = [each for name, each in found.items() if name not in closed and each.label in labels]
        return sorted(usable, key=lambda each: used[each.decision_id])

    async def seed(self, seed_id: str) -> Lesson | None:
        return await self._keeping.store.get(SEEDED, seed_id)

    async def _leaf(self, decision_id: str, tenant: str | None) -> tuple[Any, str]:
        decided = await self._decisions.decided(decision_id)
        if decided is None or (tenant is not None and decided.leaf["subject"]["tenant"] != tenant):
            raise AuditError("There is no record of that decision.", "decision_unknown")
        return decided.leaf, decided.key_id

    async def _put(self, decision_id: str, state: str, terms: dict[str, Any], by: Subject) -> dict[str, Any]:
        key_id, key = await self._keys.key_for(by.id)
        terms = {**terms, "by": key_id}
        for _ in range(ATTEMPTS):
            before = await self._keeping.store.get(KIND, decision_id)
            if before is not None and (before.state, dict(before.terms)) == (state, terms):
                await self._keeping.settle(KIND, decision_id)
                return view(before)
            version = 0 if before is None else before.version
            lesson = Lesson(KIND, decision_id, decision_id, state, self._clock.now_ns(), terms, version=version)
            details = {"state": state, "label": terms["label"], "by": key_id}
            entry = system_entry(EVENT, lesson.at_ns, details, decision_id, {"actor": by.id}, key_id, key)
            if await self._keeping.put(lesson, [entry]):
                return view(replace(lesson, version=version + 1))
        raise StateError("Too many people say what is known of it at once.", "learning_store_unavailable")

    async def _every(self, kind: str, states: Sequence[str], after: int = 0) -> AsyncIterator[tuple[int, Lesson]]:
        while page := await self._keeping.store.page(kind, states, after, MANY):
            for each in page:
                yield each
            after = page[-1][0]


class Seeds:
    """What is mixed in beside the samples of one round. Whether one is, and which, follows from the sample by a keyed hash, and so does
    its id: a batch that a crash cut off, or two nodes, put the same under the same id, and the first one stays."""

    def __init__(self, known: KnownAnswers, key: bytes, share: float, least: int) -> None:
        self._known = known
        self._key = key
        self._beside = share / (1 - share)  # of all that people are given `share` is seeded
        self._least = least
        self._pool: list[Known] | None = None

    async def beside(self, task: Lesson, people: int, at_ns: int) -> Lesson | None:
        """None where there is to be none beside this one, or nothing is known that could be."""
        if draw(self._key, "seeded", task.about) >= self._beside:
            return None
        seed_id = task_id(self._key, f"seeded {task.about}")
        if (before := await self._known.seed(seed_id)) is not None:
            return before
        if self._pool is None:
            self._pool = await self._known.pool(self._least)
        fitting = [each for each in self._pool if each.tenant == task.terms["tenant"] and each.decision_id != task.about]
        if not fitting:
            return None
        chosen = min(fitting[: max(1, len(fitting) // 2)], key=lambda each: draw(self._key, f"seed {task.about}", each.decision_id))
        self._pool.remove(chosen)
        terms: dict[str, Any] = {
            "known": chosen.label, "not": [chosen.by] if chosen.by else [], "tenant": chosen.tenant, "subject": chosen.subject,
            "wanted": people, "strategies": ["seeded"], "claims": {}, "answers": {}, "skipped": [],
        }  # fmt: skip
        return Lesson(SEEDED, seed_id, chosen.decision_id, OPEN, at_ns, terms)

    def first(self, task: Lesson) -> bool:
        """Whether the seeded one stands before the sample that it came with."""
        return draw(self._key, "seeded first", task.about) < 0.5


def _named(lesson: Lesson) -> Known:
    terms = lesson.terms
    return Known(lesson.about, terms["label"], terms["tenant"], terms["subject"], terms["by"])


def view(lesson: Lesson) -> dict[str, Any]:
    terms = lesson.terms
    told = {"decision_id": lesson.about, "state": lesson.state, "label": terms["label"] or None, "by": terms["by"]}
    return {**told, "at": instant(lesson.at_ns)}
