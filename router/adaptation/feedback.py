"""What people say about decisions: right, wrong with the right intent, or about nothing that is served here.

One opinion of each person about each decision; a later one of theirs replaces it, and both are on record. Nothing of an opinion is personal
but who said it and their comment, which only the ledger has, under their own key.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

from router.adaptation.keeping import Keeping
from router.audit.records.record import system_entry
from router.audit.records.sealing import commit
from router.decision import Status, Subject
from router.errors import AuditError, RefusedError, StateError
from router.ports import Clock, Entry, Lesson, SubjectKeys
from router.times import instant

KIND = "feedback"
EVENT = "feedback"
ATTEMPTS = 5
STRONG = "word"  # what somebody said in so many words, and not only by what they did


class Verdict(StrEnum):
    RIGHT = "right"
    WRONG = "wrong"
    OUT_OF_SCOPE = "out_of_scope"


@dataclass(frozen=True, slots=True)
class Decided:
    """Of a decision's record what an opinion is about. `key_id` is that of its subject's key."""

    decision_id: str
    record: int
    key_id: str
    leaf: Mapping[str, Any]

    @property
    def classification(self) -> Mapping[str, Any]:
        found = self.leaf.get("classification")
        return found if isinstance(found, Mapping) else {}


@dataclass(frozen=True, slots=True)
class Heard:
    """What a reviewer's step says of the intent, read from its record. `key_id` is the reviewer's, `by` how it was said: a word, or a
    route."""

    decision_id: str
    at_ns: int
    verdict: Verdict
    intent: str | None
    reason: str
    by: str
    key_id: str
    actor: str


class Keys(SubjectKeys, Protocol):
    async def key(self, key_id: str) -> bytes | None:
        """None once it was destroyed."""


class Decisions(Protocol):
    async def decided(self, decision_id: str) -> Decided | None:
        """None for what is no decision of this ledger. Raises AuditError."""


class FeedbackService:
    """`intents` are the catalog's."""

    def __init__(self, keeping: Keeping, decisions: Decisions, keys: Keys, clock: Clock, intents: Callable[[], Collection[str]]) -> None:
        self._keeping = keeping
        self._decisions = decisions
        self._keys = keys
        self._clock = clock
        self._intents = intents

    async def say(self, decision_id: str, said: Mapping[str, str], by: Subject) -> dict[str, Any]:
        """Raises RefusedError, AuditError, StateError."""
        verdict, intent = Verdict(said["verdict"]), said["intent"] or None
        self._check(verdict, intent)
        await self._keeping.ping()
        decided = await self._decided(decision_id)
        _fits(verdict, intent, decided)
        key_id, key = await self._keys.key_for(by.id)
        lesson_id = f"{decision_id}:{key_id}"
        terms = {
            **_facts(decided),
            "verdict": verdict.value,
            "intent": intent,
            "reason": said["reason"],
            "by": key_id,
            "own": key_id == decided.key_id,
            "comment": commit(key, decision_id, {"comment": said["comment"]})["comment"],
        }
        for _ in range(ATTEMPTS):  # again where the same person said something else at the same time
            known = await self._keeping.store.get(KIND, lesson_id)
            if known is not None and dict(known.terms) == terms:
                await self._keeping.settle(KIND, lesson_id)
                return view(known)
            lesson = Lesson(
                KIND, lesson_id, decision_id, verdict.value, self._clock.now_ns(), terms, version=known.version if known is not None else 0
            )
            if await self._keeping.put(lesson, [_entry(lesson, by.id, said["comment"], key_id, key)]):
                return view(replace(lesson, version=lesson.version + 1))
        raise StateError("The same person says different things about this decision at once.", "learning_store_unavailable")

    async def hear(self, heard: Heard) -> str:
        """`taken`, or why a reviewer's step says nothing. Done once more it changes nothing: an opinion has the time of its step, and only
        a later one replaces an earlier; what was said in words is not replaced by what follows from a route. Raises AuditError,
        StateError."""
        key = await self._keys.key(heard.key_id)  # never a new one: who was erased does not come back by it
        decided = await self._decisions.decided(heard.decision_id)
        if key is None or decided is None:
            return "erased" if key is None else "decision_unknown"
        if heard.intent is not None and heard.intent not in self._intents():
            return "intent_gone"
        try:
            _fits(heard.verdict, heard.intent, decided)
        except RefusedError as error:
            return error.code
        terms = {
            **_facts(decided),
            "verdict": heard.verdict.value,
            "intent": heard.intent,
            "reason": heard.reason,
            "by": heard.key_id,
            "own": heard.key_id == decided.key_id,
            "comment": "",
            "review": heard.decision_id,
            "said_by": heard.by,
        }
        for _ in range(ATTEMPTS):
            known = await self._keeping.store.get(KIND, lesson_id := f"{heard.decision_id}:{heard.key_id}")
            if known is not None and _stands(known, heard):  # its record waits beside it, where it is not in the ledger yet
                return "said_otherwise" if known.at_ns != heard.at_ns else "taken"
            version = 0 if known is None else known.version
            lesson = Lesson(KIND, lesson_id, heard.decision_id, heard.verdict.value, heard.at_ns, terms, version=version)
            if await self._keeping.put(lesson, [_entry(lesson, heard.actor, "", heard.key_id, key)]):
                return "taken"
        raise StateError("The same person says different things about this decision at once.", "learning_store_unavailable")

    async def opinions(self, decision_id: str) -> dict[str, Any]:
        found = await self._keeping.store.about(KIND, decision_id)
        return {"decision_id": decision_id, "opinions": [view(each) for each in found], "disagreement": disagree(found)}

    async def page(self, verdict: str | None, after: int, limit: int) -> tuple[list[dict[str, Any]], int | None]:
        """(opinions, the place after which the next page begins)"""
        found = await self._keeping.store.page(KIND, [verdict] if verdict is not None else [], after, limit)
        return [view(each) for _, each in found], found[-1][0] if len(found) == limit else None

    def _check(self, verdict: Verdict, intent: str | None) -> None:
        if intent is None:
            return
        if verdict is not Verdict.WRONG:
            raise RefusedError("The right intent is said only of a decision that was wrong.", "request_invalid", 422)
        if intent not in self._intents():
            raise RefusedError(f"The catalog has no intent '{intent}'.", "feedback_intent_unknown", 422)

    async def _decided(self, decision_id: str) -> Decided:
        decided = await self._decisions.decided(decision_id)
        if decided is None:
            raise AuditError("There is no record of that decision.", "decision_unknown")
        return decided


def disagree(opinions: Sequence[Lesson]) -> bool:
    """The word of the one who asked counts neither way."""
    return len({(each.terms["verdict"], each.terms["intent"]) for each in opinions if not each.terms["own"]}) > 1


def view(lesson: Lesson) -> dict[str, Any]:
    terms = lesson.terms
    shown = {name: terms[name] for name in ("verdict", "intent", "reason", "classified", "status", "by", "own")}
    return {"decision_id": lesson.about, **shown, "review": terms.get("review"), "at": instant(lesson.at_ns), "version": lesson.version}


def _fits(verdict: Verdict, intent: str | None, decided: Decided) -> None:
    """What contradicts itself would teach something else than was meant. Raises RefusedError."""
    found = decided.classification
    status = found.get("status")
    if status == Status.SKIPPED:
        raise RefusedError("No intent was looked for in this request.", "feedback_unclassified", 409)
    if verdict is Verdict.RIGHT and status not in (Status.CLASSIFIED, Status.OUT_OF_SCOPE):
        raise RefusedError(f"The decision is '{status}', which names no intent that could be right.", "feedback_contradicts", 409)
    if verdict is Verdict.OUT_OF_SCOPE and status == Status.OUT_OF_SCOPE:
        raise RefusedError("The decision says so, too: it was right.", "feedback_contradicts", 409)
    if intent is not None and status == Status.CLASSIFIED and intent == found.get("intent"):
        raise RefusedError("The decision has this intent: it was right.", "feedback_contradicts", 409)


def _facts(decided: Decided) -> dict[str, Any]:
    found = decided.classification
    return {
        "record": decided.record,
        "subject": decided.key_id,
        "classified": found.get("intent"),
        "status": found.get("status"),
        "confidence": found.get("confidence"),
        "tier": found.get("tier"),
        "catalog_digest": decided.leaf.get("catalog_digest"),
    }


def _stands(known: Lesson, heard: Heard) -> bool:
    """Whether what the same person said already stays."""
    in_words = known.terms.get("said_by", STRONG) == STRONG
    return known.at_ns >= heard.at_ns or (in_words and heard.by != STRONG)


def _entry(lesson: Lesson, actor: str, comment: str, key_id: str, key: bytes) -> Entry:
    """Under the decision's id."""
    told = ("verdict", "intent", "reason", "classified", "status", "own", "by")
    details = {**{name: lesson.terms[name] for name in told}, "number": lesson.version + 1}
    if "review" in lesson.terms:
        details |= {"review": lesson.terms["review"], "said_by": lesson.terms["said_by"]}
    return system_entry(EVENT, lesson.at_ns, details, lesson.about, {"actor": actor, "comment": comment}, key_id, key)
