"""From what people said to a proposal: which opinions count, and which texts may become examples.

A text becomes an example only masked, whole, in one line, once, and where enough different people wrote texts for the same intent: what one
person alone says again and again teaches nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from router.adaptation.feedback import Verdict, disagree
from router.ports import Lesson

OUTSIDE = ""
"""Instead of an intent: about none."""
LONGEST, SHORTEST = 300, 3


@dataclass(frozen=True, slots=True)
class Correction:
    """A decision that was wrong, with the intent that it should have had. `subject` is the key of the one who asked."""

    decision_id: str
    intent: str
    subject: str


@dataclass(frozen=True, slots=True)
class Example:
    decision_id: str
    intent: str
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Drafted:
    """`left_out` counts decisions by why nothing comes of them."""

    examples: tuple[Example, ...]
    left_out: Mapping[str, int]


@dataclass(slots=True)
class _Sieve:
    left_out: Counter[str] = field(default_factory=Counter)

    def passes(self, fault: str | None) -> bool:
        if fault is not None:
            self.left_out[fault] += 1
        return fault is None


def corrections(opinions: Iterable[Lesson], used: Collection[str], intents: Collection[str]) -> tuple[list[Correction], Counter[str]]:
    """What is agreed on, was not proposed before and is about what the catalog has; and what is left out."""
    by_decision: dict[str, list[Lesson]] = defaultdict(list)
    for opinion in opinions:
        by_decision[opinion.about].append(opinion)
    sieve, found = _Sieve(), list[Correction]()
    for decision_id, said in by_decision.items():
        others = [each for each in said if not each.terms["own"]]
        if not sieve.passes(_unusable(decision_id, others, said, used, intents)):
            continue
        terms = others[0].terms
        found.append(Correction(decision_id, terms["intent"] or OUTSIDE, terms["subject"]))
    return found, sieve.left_out


def _unusable(
    decision_id: str, others: Sequence[Lesson], said: Sequence[Lesson], used: Collection[str], intents: Collection[str]
) -> str | None:
    if not others:
        return "own"
    if disagree(said):
        return "disagreement"
    verdict, intent = others[0].terms["verdict"], others[0].terms["intent"]
    if verdict == Verdict.RIGHT:
        return "right"
    if verdict == Verdict.WRONG and intent is None:
        return "no_intent"
    if intent is not None and intent not in intents:
        return "intent_gone"
    return "proposed_before" if decision_id in used else None


def examples(
    wanted: Sequence[Correction],
    texts: Mapping[str, str | None],
    known: Collection[str],
    mask: Callable[[str], str],
    least_subjects: int,
    most: int,
) -> Drafted:
    """`texts` by decision, None where it can no longer be opened; `known` are the catalog's examples. Of each intent at most `most`, one
    person after the other, so that nobody fills them alone."""
    sieve, by_intent = _Sieve(), dict[str, list[Example]]()
    seen = {same(text) for text in known}
    for each in wanted:
        text = one_line(mask(texts.get(each.decision_id) or ""))
        if not sieve.passes(_unfit(texts.get(each.decision_id), text, seen)):
            continue
        seen.add(same(text))
        by_intent.setdefault(each.intent, []).append(Example(each.decision_id, each.intent, each.subject, text))
    kept: list[Example] = []
    for found in by_intent.values():
        if len({each.subject for each in found}) < least_subjects:
            sieve.left_out["too_few_people"] += len(found)
            continue
        chosen = in_turns(found)[:most]
        sieve.left_out["too_many"] += len(found) - len(chosen)
        kept += chosen
    return Drafted(tuple(kept), {name: count for name, count in sorted(sieve.left_out.items()) if count})


def in_turns(found: Sequence[Example]) -> list[Example]:
    """The first of each person, then the second of each, and so on."""
    numbered, counts = list[tuple[int, int, Example]](), Counter[str]()
    for place, each in enumerate(found):
        numbered.append((counts[each.subject], place, each))
        counts[each.subject] += 1
    return [each for _, _, each in sorted(numbered, key=lambda one: one[:2])]


def _unfit(opened: str | None, text: str, seen: Collection[str]) -> str | None:
    if not opened:
        return "unopened"
    if not SHORTEST <= len(text) <= LONGEST:
        return "length"
    return "known" if same(text) in seen else None


def one_line(text: str) -> str:
    """Printable, and not what a file of examples would take for a comment."""
    plain = "".join(each if each.isprintable() else " " for each in text)
    return " ".join(plain.split()).lstrip("#").strip()


def same(text: str) -> str:
    return " ".join(text.casefold().split())


def changes(found: Iterable[Example]) -> tuple[dict[str, Any], list[str], dict[str, str]]:
    """(of each intent the names of its texts, those about none, the decision of each text)"""
    intents: dict[str, Any] = {}
    outside, sources = list[str](), dict[str, str]()
    for number, each in enumerate(found):
        name = f"text_{number}"
        sources[name] = each.decision_id
        if each.intent == OUTSIDE:
            outside.append(name)
        else:
            intents.setdefault(each.intent, {"examples": []})["examples"].append(name)
    return intents, outside, sources
