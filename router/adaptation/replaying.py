"""Recorded decisions classified again: the request and its text as they were sealed, and what a classifier says of them now.

An encoder in int8 rounds otherwise on another kind of processor: of nine texts in ten nothing, and of the tenth so much that an unsure
number is another one. So a classification is reproduced where every number that both have is within a stated tolerance, and all together
are where most hardly differ; those of tiers that compute alike everywhere have to be the same. An answer can flip within it: a confidence
that was just over its threshold. Those are flips, and no contradiction.

What was sealed is not all that was there: of a body in JSON the text to classify is kept and not the rest, so that a rule which looks
into it cannot be judged again. Decisions are left out, and counted, where that may matter, and where a language model had the last word.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from router.audit.questions.query import Found
from router.decision import ANONYMOUS, BodyView, Classification, Request, Status, Turn
from router.flips import NONE, Groups, grouped

Numbers = tuple[float | None, float | None, float | None]
"""Confidence, margin, scope."""
TOLERANCE = 0.25
USUAL, FEW = 0.02, 20
"""Where of so many decisions more than half differ by more, the model on record is not the one that gave these numbers."""
EXACT = frozenset(("rule", "static", "conversation"))
"""Tiers that give the same numbers everywhere."""
LEAST = 0.001
"""More than the last bits of a number."""
OF_THE_MODEL = frozenset(("static", "encoder"))
"""Which of these are asked the configuration says, and no digest of a classification."""
LANGUAGE_MODEL = "llm"
NOT_ADMITTED = "not_admitted"


class Classifier(Protocol):
    async def classify(self, request: Request, *, no_rule: bool) -> Classification | None:
        """`no_rule`: it is known that none holds. None where a rule would have to see what was not kept."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`numbers` of the tiers that were asked, by tier. `digests` of model, calibration and catalog."""

    status: str
    intent: str | None
    rule: str | None
    reason: str
    tier: str
    confidence: float | None
    numbers: Mapping[str, Numbers]
    digests: tuple[str, str, str]

    @property
    def said(self) -> str:
        return self.intent or (f"rule {self.rule}" if self.rule is not None else self.status)

    def moved(self, other: Answer, among: Collection[str] | None = None) -> float | None:
        """The largest difference between numbers of a tier (of these, where they are named) that both have; None where no tier was asked
        both times."""
        both = [
            (one, another)
            for tier in self.numbers.keys() & other.numbers.keys()
            if among is None or tier in among
            for one, another in zip(self.numbers[tier], other.numbers[tier], strict=True)
            if one is not None or another is not None
        ]
        return max((1.0 if one is None or another is None else abs(one - another) for one, another in both), default=None)


@dataclass(frozen=True, slots=True)
class Difference:
    """`subject` is the id of the person's key, or the name where names were asked for. `moved`: as `Answer.moved`. `same`: both answers are
    of the same model, calibration and catalog. `beyond`: a number is further off than it may be."""

    record: int
    decision: str
    tenant: str | None
    subject: str | None
    before: Answer
    after: Answer
    moved: float | None
    same: bool
    beyond: bool

    @property
    def contradicts(self) -> bool:
        """What the same classifier cannot have said: with a number beyond the tolerance, or with another answer and no number that would
        explain it. Where another of the model's tiers answered, the configuration had that one asked."""
        unexplained = self.flips and self.moved is None and not self._by_another_tier
        return self.same and (self.beyond or unexplained)

    @property
    def _by_another_tier(self) -> bool:
        then, now = self.before.numbers.keys(), self.after.numbers.keys()
        return bool(then and now) and then | now <= OF_THE_MODEL and not then & now

    @property
    def flips(self) -> bool:
        return self.before.said != self.after.said

    @property
    def what(self) -> str:
        return f"{self.before.said} → {self.after.said}"


@dataclass(slots=True)
class Replay:
    """`left_out` counts decisions that cannot be compared, by why: `erased`, `pruned`, `missing`, `unreadable`, `none`, `admission` (it
    was not classified), `unseen` (its text was not, or not wholly, seen), `unavailable` (the classifier failed, then or now), `llm`, `body`
    (a rule would have to see what was not kept). `same` counts those by the very model, calibration and catalog; `moved` has the largest
    difference of a number in each of these that an encoder was asked about."""

    tolerance: float
    compared: int = 0
    same: int = 0
    differences: list[Difference] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    moved: list[float] = field(default_factory=list)

    @property
    def flips(self) -> list[Difference]:
        return [each for each in self.differences if each.flips]

    @property
    def largest(self) -> float:
        return max(self.moved, default=0.0)

    @property
    def median(self) -> float:
        return statistics.median(self.moved) if self.moved else 0.0

    @property
    def reproduced(self) -> bool:
        return not self.not_reproduced and (len(self.moved) < FEW or self.median <= USUAL)

    @property
    def not_reproduced(self) -> list[Difference]:
        return [each for each in self.differences if each.contradicts]

    def groups(self) -> Groups:
        """How many decisions flip from what to what, by tenant, subject and the tier that answered before."""
        names = (
            {"tier": [each.before.tier or NONE], "tenant": [each.tenant or NONE], "subject": [each.subject or NONE]} for each in self.flips
        )
        return grouped(("tier", "tenant", "subject"), zip(names, (each.what for each in self.flips), strict=True))

    def add(self, difference: Difference) -> None:
        self.compared += 1
        self.same += difference.same
        if difference.same and difference.moved is not None and not EXACT.issuperset(difference.before.numbers):
            self.moved.append(difference.moved)
        if difference.flips or difference.beyond:
            self.differences.append(difference)


async def replay(
    decisions: Iterable[Found], classifier: Classifier, catalog_digest: str, *, tolerance: float, names: bool = False
) -> Replay:
    """`decisions` with their personal fields opened, and with the column `key_id`. `catalog_digest` is the classifier's. `names`: subjects
    by name. Memory grows with what differs, and by a number for each that an encoder was asked about."""
    made = Replay(tolerance)
    async for difference in _differences(decisions, classifier, catalog_digest, names, tolerance, made.left_out):
        made.add(difference)
    return made


async def _differences(
    decisions: Iterable[Found], classifier: Classifier, catalog_digest: str, names: bool, tolerance: float, left_out: Counter[str]
) -> AsyncIterator[Difference]:
    for found in decisions:
        why = _why_not(found)
        if why is None:
            told, personal = found.leaf["classification"], found.personal or {}
            same_rules = told["catalog_digest"] == catalog_digest
            after = await classifier.classify(_request(found.leaf, personal), no_rule=same_rules and told["rule"] is None)
            if after is not None and after.status is not Status.UNAVAILABLE:
                whose = personal.get("subject") if names else found.columns["key_id"]
                yield _difference(found, recorded(told), answered(after), whose, tolerance)
                continue
            why = "body" if after is None else "unavailable"
        left_out[why] += 1


def _difference(found: Found, before: Answer, after: Answer, subject: str | None, tolerance: float) -> Difference:
    tenant = found.leaf["subject"]["tenant"]
    same, moved, exactly = before.digests == after.digests, before.moved(after), before.moved(after, EXACT)
    beyond = (moved or 0.0) > tolerance or (exactly or 0.0) > min(tolerance, LEAST)
    return Difference(found.index, found.leaf["id"], tenant, subject, before, after, moved, same, beyond)


def _why_not(found: Found) -> str | None:
    if found.personal is None:
        return found.sealed
    told, body = found.leaf["classification"], found.leaf["request"]["body"]
    if told["reason"] == NOT_ADMITTED:
        return "admission"
    if body["truncated"] or body["problem"] is not None:
        return "unseen"
    if told["status"] == Status.UNAVAILABLE:
        return "unavailable"
    return LANGUAGE_MODEL if told["tier"] == LANGUAGE_MODEL else None


def recorded(told: Mapping[str, Any]) -> Answer:
    """What a leaf's `classification` has."""
    tiers = [(each["tier"], each) for each in (*told.get("earlier_tiers", ()), told)]
    return Answer(
        told["status"],
        told["intent"],
        None if told["rule"] is None or told["rule"]["intent"] is not None else told["rule"]["name"],
        told["reason"],
        told["tier"],
        _number(told["confidence"]),
        {tier: (_number(each["confidence"]), _number(each["margin"]), _number(each["scope"])) for tier, each in tiers if tier},
        (told["model_digest"], told["calibration_digest"], told["catalog_digest"]),
    )


def answered(said: Classification) -> Answer:
    tiers = [*((each.tier, (each.confidence, each.margin, each.scope)) for each in said.earlier_tiers)]
    tiers += [(said.tier, (said.confidence, said.margin, said.scope))]
    return Answer(
        said.status.value,
        said.intent,
        None if said.rule is None or said.rule.intent is not None else said.rule.rule,
        said.reason,
        said.tier,
        said.confidence,
        {tier: numbers for tier, numbers in tiers if tier},
        (said.model_digest, said.calibration_digest, said.catalog_digest),
    )


def _number(decimal: str | None) -> float | None:
    return None if decimal is None else float(decimal)


def _request(leaf: Mapping[str, Any], personal: Mapping[str, str]) -> Request:
    """As far as rules and tiers look at it. `body.data` has its length and not its content."""
    told = leaf["request"]
    return Request(
        id=told["id"],
        received_ns=0,
        door=told["door"],
        subject=ANONYMOUS,
        method=personal.get("method") or told["method"],
        host=personal.get("host", ""),
        path=personal.get("path", ""),
        query=personal.get("query", ""),
        headers=tuple((name, value) for name, value in json.loads(personal.get("headers", "[]"))),
        content_type=personal.get("content_type") or told["content_type"],
        body=BodyView(bytes(told["body"]["seen_bytes"]), text=personal.get("text")),
        earlier=tuple(Turn(text, intent, tuple(offered)) for text, intent, offered in json.loads(personal.get("earlier", "[]"))),
    )
