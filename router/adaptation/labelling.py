"""What becomes of a sampled decision: people claim it, and say what its text is about without being told what was decided.

    open ─▶ done      as many people have said so as are wanted
         └▶ gone      its text can no longer be opened

A task has no text: that stays where the audit keeps it, under the key of who wrote it, and is opened, masked, for who has claimed the task.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from router.adaptation.feedback import KIND as OPINION
from router.adaptation.feedback import FeedbackService, Verdict
from router.adaptation.keeping import Keeping
from router.audit.records.record import system_entry
from router.decision import Status, Subject
from router.errors import RefusedError, StateError
from router.ports import Clock, Entry, Lesson, SubjectKeys

KIND = "label_task"
SEEDED = "label_seed"  # a task whose label is known: a kind of its own, so that whoever counts labels does not count it
EVENT, REASON = "labelled", "labelled"
SEEDED_EVENT = "label_seeded"
OPEN, DONE, GONE = "open", "done", "gone"
OUT_OF_SCOPE, UNSURE = "out_of_scope", "unsure"
MANY, ATTEMPTS = 200, 5
NS = 1_000_000_000
Open = Callable[[Lesson, Subject], Awaitable[str | None]]
"""The masked text of a task for who has claimed it, after that is on record; None where it cannot be opened."""


@dataclass(frozen=True, slots=True)
class Labeller:
    """`tenant`: whose decisions alone they may see; all without."""

    subject: Subject
    key_id: str
    key: bytes
    tenant: str | None


class LabelService:
    def __init__(
        self,
        keeping: Keeping,
        feedback: FeedbackService,
        keys: SubjectKeys,
        clock: Clock,
        intents: Callable[[], Collection[str]],
        lease_s: Callable[[], float],
        text: Open,
    ) -> None:
        self._keeping = keeping
        self._feedback = feedback
        self._keys = keys
        self._clock = clock
        self._intents = intents
        self._lease_s = lease_s
        self._text = text

    async def page(self, by: Subject, tenant: str | None, after: int, limit: int) -> tuple[list[dict[str, Any]], int | None]:
        """(what this person may label, the place after which the next page begins)"""
        who, found = await self._labeller(by, tenant), list[dict[str, Any]]()
        async for place, task in self._open(after):
            if await self._suits(task, who):
                found.append({"id": task.id, "mine": who.key_id in live(task, self._clock.now_ns())})
            if len(found) == limit:
                return found, place
        return found, None

    async def claim(self, by: Subject, tenant: str | None) -> tuple[Lesson, str, int] | None:
        """(task, masked text, until when it is this person's), None where there is nothing to label. What they have claimed already comes
        first. Raises AuditError, StateError."""
        who = await self._labeller(by, tenant)
        await self._keeping.ping()
        while (task := await self._next(who)) is not None:
            claimed = await self._claimed(task, who)
            if claimed is None:  # somebody was quicker
                continue
            text = await self._text(claimed, by)
            if text is not None:
                return claimed, text, claimed.terms["claims"][who.key_id]["until_ns"]
            await self._put(replace(claimed, state=GONE, terms={**claimed.terms, "claims": {}}))
        return None

    async def shown(self, task_id: str, by: Subject, tenant: str | None) -> tuple[Lesson, str | None, int]:
        """What this person has claimed, as `claim` gave it; None for a text that can no longer be opened. Changes nothing, but that it is
        opened is on record. Raises RefusedError, AuditError, StateError."""
        who = await self._labeller(by, tenant)
        await self._keeping.ping()
        task = await self._task(task_id, who)
        until_ns = self._claim_of(task, who)["until_ns"]
        return task, await self._text(task, by), until_ns

    async def answer(self, task_id: str, label: str, by: Subject, tenant: str | None) -> Lesson:
        """An opinion about the decision first, then the task: where a crash comes between, the same is said again. Raises RefusedError,
        AuditError, StateError."""
        if label not in (OUT_OF_SCOPE, UNSURE) and label not in self._intents():
            raise RefusedError(f"The catalog has no intent '{label}'.", "feedback_intent_unknown", 422)
        who = await self._labeller(by, tenant)
        for _ in range(ATTEMPTS):
            task = await self._task(task_id, who)
            known = task.terms["answers"].get(who.key_id)
            if known is not None:
                if known["label"] != label:
                    raise RefusedError("You have said something else about it already.", "label_answered", 409)
                await self._keeping.settle(task.kind, task.id)
                return task
            answered = self._answered(task, label, who)
            if task.kind == KIND:
                await self._say(task, label, by)
            if await self._keeping.put(answered, [_entry(answered, label, who)]):
                return answered
        raise StateError("Too many people label it at once.", "learning_store_unavailable")

    async def skip(self, task_id: str, by: Subject, tenant: str | None) -> Lesson:
        """It is left to others. Raises RefusedError, StateError."""
        who = await self._labeller(by, tenant)
        for _ in range(ATTEMPTS):
            task = await self._task(task_id, who)
            if who.key_id in task.terms["skipped"]:
                return task
            self._claim_of(task, who)
            terms = {**task.terms, "skipped": [*task.terms["skipped"], who.key_id], "claims": _without(task.terms["claims"], who.key_id)}
            if await self._put(skipped := replace(task, terms=terms)):
                return skipped
        raise StateError("Too many people label it at once.", "learning_store_unavailable")

    async def _labeller(self, by: Subject, tenant: str | None) -> Labeller:
        return Labeller(by, *await self._keys.key_for(by.id), tenant)

    async def _open(self, after: int = 0) -> AsyncIterator[tuple[int, Lesson]]:
        """Both kinds, in the order in which they were put: nobody can tell them apart."""
        while True:
            pages = [await self._keeping.store.page(kind, [OPEN], after, MANY) for kind in (KIND, SEEDED)]
            known_to = min((page[-1][0] for page in pages if len(page) == MANY), default=None)
            for place, task in sorted((each for page in pages for each in page), key=lambda each: each[0]):
                if known_to is None or place <= known_to:
                    yield place, task
            if known_to is None:
                return
            after = known_to

    async def _next(self, who: Labeller) -> Lesson | None:
        first, now_ns = None, self._clock.now_ns()
        async for _, task in self._open():
            if who.key_id in live(task, now_ns) and visible(task, who):
                return task
            if first is None and await self._suits(task, who):
                first = task
        return first

    async def _suits(self, task: Lesson, who: Labeller) -> bool:
        """Nobody labels what they asked for themselves, what they said something about, or the same twice."""
        terms = task.terms
        if not visible(task, who) or terms["subject"] == who.key_id or who.key_id in {*terms["answers"], *terms["skipped"]}:
            return False
        others = live(task, self._clock.now_ns()) - {who.key_id}
        if len(others) + len(terms["answers"]) >= terms["wanted"]:
            return False
        if who.key_id in terms.get("not", ()) or await self._seen(task, who):
            return False
        return await self._keeping.store.get(OPINION, f"{task.about}:{who.key_id}") is None

    async def _seen(self, task: Lesson, who: Labeller) -> bool:
        """Whether they had this text before, as a sample or seeded beside another one."""
        every = [each for kind in (KIND, SEEDED) for each in await self._keeping.store.about(kind, task.about)]
        return any(who.key_id in {*each.terms["answers"], *each.terms["skipped"]} for each in every)

    async def _claimed(self, task: Lesson, who: Labeller) -> Lesson | None:
        now_ns = self._clock.now_ns()
        claims = {name: claim for name, claim in task.terms["claims"].items() if claim["until_ns"] > now_ns}
        since = claims[who.key_id]["at_ns"] if who.key_id in claims else now_ns
        claims[who.key_id] = {"at_ns": since, "until_ns": now_ns + int(self._lease_s() * NS)}
        claimed = replace(task, terms={**task.terms, "claims": claims})
        return replace(claimed, version=claimed.version + 1) if await self._put(claimed) else None

    async def _task(self, task_id: str, who: Labeller) -> Lesson:
        store = self._keeping.store
        task = await store.get(KIND, task_id) or await store.get(SEEDED, task_id)
        if task is None or not visible(task, who):
            raise RefusedError("There is no such text to label.", "label_unknown", 404)
        return task

    def _claim_of(self, task: Lesson, who: Labeller) -> Mapping[str, int]:
        if task.state != OPEN or who.key_id not in live(task, self._clock.now_ns()):
            raise RefusedError("You have not claimed it, or your time for it is over; claim the next.", "label_unclaimed", 409)
        claim: Mapping[str, int] = task.terms["claims"][who.key_id]
        return claim

    def _answered(self, task: Lesson, label: str, who: Labeller) -> Lesson:
        now_ns, claim = self._clock.now_ns(), self._claim_of(task, who)
        said = {"label": label, "at_ns": now_ns, "dwell_ns": now_ns - claim["at_ns"], **self._checked(task, label)}
        answers = {**task.terms["answers"], who.key_id: said}
        terms = {**task.terms, "answers": answers, "claims": _without(task.terms["claims"], who.key_id)}
        return replace(task, state=DONE if len(answers) >= terms["wanted"] else OPEN, terms=terms, touched_ns=now_ns)

    def _checked(self, task: Lesson, label: str) -> dict[str, bool | None]:
        """Of a seeded one whether it is right; None where who was asked did not say, or could not, for the catalog has it no more."""
        if task.kind != SEEDED:
            return {}
        known = task.terms["known"]
        return {"right": label == known if label != UNSURE and known in {OUT_OF_SCOPE, *self._intents()} else None}

    async def _say(self, task: Lesson, label: str, by: Subject) -> None:
        verdict = verdict_of(task.terms, label)
        if verdict is not None:
            intent = label if verdict is Verdict.WRONG else ""
            said = {"verdict": verdict.value, "intent": intent, "reason": REASON, "comment": ""}
            await self._feedback.say(task.about, said, by)

    async def _put(self, task: Lesson) -> bool:
        """Claims and skips change nothing that is learnt; who asked for them is on record as any act in the control API."""
        return await self._keeping.store.put(task, [], "", 0)


def live(task: Lesson, now_ns: int) -> set[str]:
    return {name for name, claim in task.terms["claims"].items() if claim["until_ns"] > now_ns}


def visible(task: Lesson, who: Labeller) -> bool:
    return who.tenant is None or task.terms["tenant"] == who.tenant


def verdict_of(terms: Mapping[str, Any], label: str) -> Verdict | None:
    """What a label says of the decision; None where it says nothing."""
    if label == UNSURE:
        return None
    decided = OUT_OF_SCOPE if terms["status"] == Status.OUT_OF_SCOPE else terms["classified"]
    if decided == label:
        return Verdict.RIGHT
    return Verdict.OUT_OF_SCOPE if label == OUT_OF_SCOPE else Verdict.WRONG


def _without(claims: Mapping[str, Any], key_id: str) -> dict[str, Any]:
    return {name: claim for name, claim in claims.items() if name != key_id}


def _entry(task: Lesson, label: str, who: Labeller) -> Entry:
    """Under the decision's id."""
    answer = task.terms["answers"][who.key_id]
    if task.kind == SEEDED:
        seeded = {"label": label, "task": task.id, "right": answer["right"], "by": who.key_id}
        return system_entry(SEEDED_EVENT, answer["at_ns"], seeded, task.about, {"actor": who.subject.id}, who.key_id, who.key)
    details = {
        "label": label,
        "task": task.id,
        "strategies": ",".join(task.terms["strategies"]),
        "probability": task.terms["probability"],
        "by": who.key_id,
    }
    return system_entry(EVENT, answer["at_ns"], details, task.about, {"actor": who.subject.id}, who.key_id, who.key)
