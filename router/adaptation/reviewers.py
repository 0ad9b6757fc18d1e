"""How people label, each by themselves: nobody is ranked, and of too few nothing is said.

Shares have Wilson's 95 % interval (E. B. Wilson, JASA 22, 1927). Agreement is that of one person with the others who labelled the same
texts, raw and beyond chance: Cohen's kappa (J. Cohen, Educational and Psychological Measurement 20, 1960) between this person and another
of them, drawn at random from each text. Its interval is Wilson's of the raw agreement, at the agreement by chance that was observed;
unlike one from kappa's own standard error it does not vanish where everybody agreed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from router.adaptation.estimating import wilson
from router.adaptation.labelling import KIND, SEEDED, UNSURE
from router.ports import Lesson

LEAST = 10
SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Figure:
    """Told of `of` cases; None where they are too few, or where it is not defined."""

    of: int
    value: float | None = None
    low: float | None = None
    high: float | None = None


def share(hits: float, of: int) -> Figure:
    if of < LEAST:
        return Figure(of)
    return Figure(of, hits / of, *wilson(hits / of, of))


def kappa(pairs: Sequence[tuple[str, Sequence[str]]]) -> Figure:
    """Of (what one said, what each of the others said) by text. Not defined where all say the same of every text: then chance alone would
    agree as well."""
    if len(pairs) < LEAST:
        return Figure(len(pairs))
    own, theirs = Counter(said for said, _ in pairs), defaultdict[str, float](float)
    for _, others in pairs:
        for each in others:
            theirs[each] += 1 / len(others)
    chance = sum(own[label] * theirs[label] for label in own) / len(pairs) ** 2
    if chance >= 1 - 1e-12:
        return Figure(len(pairs))
    raw = agreement(pairs)
    low, high = wilson(raw, len(pairs))
    return Figure(len(pairs), *((each - chance) / (1 - chance) for each in (raw, low, high)))


def agreement(pairs: Sequence[tuple[str, Sequence[str]]]) -> float:
    return sum(sum(each == said for each in others) / len(others) for said, others in pairs) / len(pairs)


@dataclass(slots=True)
class _Person:
    dwells_ns: list[int] = field(default_factory=list)
    unsure: int = 0
    right: list[bool] = field(default_factory=list)
    pairs: list[tuple[str, Sequence[str]]] = field(default_factory=list)

    def told(self, key_id: str, quick_ns: int) -> dict[str, Any]:
        done, dwells = len(self.dwells_ns), sorted(self.dwells_ns)
        matched = share(agreement(self.pairs) * len(self.pairs), len(self.pairs)) if self.pairs else Figure(0)
        return {
            "reviewer": key_id,
            "labelled": done,
            "unsure": share(self.unsure, done),
            "agreement": matched,
            "kappa": kappa(self.pairs),
            "known_right": share(sum(self.right), len(self.right)),
            "median_s": nearest_rank(dwells, 0.5),
            "p90_s": nearest_rank(dwells, 0.9),
            "too_quick": share(sum(each < quick_ns for each in dwells), done),
        }


class Labelling:
    """What people said from `since_ns` on and before `until_ns`, task by task."""

    def __init__(self, since_ns: int, until_ns: int) -> None:
        self._since, self._until = since_ns, until_ns
        self._people: dict[str, _Person] = {}

    def take(self, task: Lesson) -> None:
        answers = task.terms["answers"]
        for key_id, answer in answers.items():
            if self._since <= answer["at_ns"] < self._until:
                _take(self._people.setdefault(key_id, _Person()), task.kind, key_id, answers)

    def told(self, quick_ns: int) -> list[dict[str, Any]]:
        """Of everybody who labelled something, by their keys, which say nothing of them."""
        return [self._people[key_id].told(key_id, quick_ns) for key_id in sorted(self._people)]


def _take(person: _Person, kind: str, key_id: str, answers: Mapping[str, Any]) -> None:
    """Who was unsure said no label, so that they neither agree nor disagree with anybody."""
    answer = answers[key_id]
    person.dwells_ns.append(answer["dwell_ns"])
    person.unsure += answer["label"] == UNSURE
    if kind == SEEDED and answer["right"] is not None:
        person.right.append(answer["right"])
    others = [other["label"] for name, other in sorted(answers.items()) if name != key_id and other["label"] != UNSURE]
    if kind == KIND and answer["label"] != UNSURE and others:
        person.pairs.append((answer["label"], others))


def nearest_rank(dwells: Sequence[int], part: float) -> float | None:
    """Of times in order the one that this part did not exceed, in seconds: a time that somebody took. None of too few."""
    return dwells[ceil(part * len(dwells)) - 1] / SECOND_NS if len(dwells) >= LEAST else None
