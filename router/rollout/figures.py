"""What is counted while two versions of the policies judge the same requests."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FIRST_NS, GROWTH, BUCKETS = 1_000.0, 1.25, 80  # up to some 56 seconds, each a quarter more than the one before
MOST_NAMED = 50
OTHERS = "others"
COUNTS = ("compared", "flips", "looser", "otherwise", "skipped", "decided")


class Times:
    """Evaluations of one version: how many, how many failed, and how long some took, to a quarter."""

    __slots__ = ("buckets", "evaluations", "failures")

    def __init__(self) -> None:
        self.evaluations = self.failures = 0
        self.buckets: Counter[int] = Counter()

    def judged(self, *, failed: bool) -> None:
        self.evaluations += 1
        self.failures += failed

    def took(self, spent_ns: int) -> None:
        self.buckets[bucket(spent_ns)] += 1

    @property
    def timed(self) -> int:
        return self.buckets.total()

    def add(self, other: Times) -> None:
        self.evaluations += other.evaluations
        self.failures += other.failures
        self.buckets.update(other.buckets)

    def reset(self) -> None:
        self.evaluations = self.failures = 0
        self.buckets.clear()

    def quantile_ns(self, share: float) -> float:
        """The upper end of the bucket in which it lies; 0 where none was timed."""
        wanted, seen = share * self.timed, 0
        for number in sorted(self.buckets):
            seen += self.buckets[number]
            if seen >= wanted:
                return FIRST_NS * GROWTH**number
        return 0.0

    def to_json(self) -> dict[str, Any]:
        return {"evaluations": self.evaluations, "failures": self.failures, "buckets": [list(each) for each in self.buckets.items()]}

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Times:
        times = Times()
        times.evaluations, times.failures = int(document["evaluations"]), int(document["failures"])
        times.buckets.update({int(number): int(count) for number, count in document["buckets"]})
        return times


def bucket(spent_ns: int) -> int:
    if spent_ns <= FIRST_NS:
        return 0
    return min(BUCKETS, math.ceil(math.log(spent_ns / FIRST_NS, GROWTH)))


@dataclass(slots=True)
class Figures:
    """`compared` requests were judged by both: of these `flips` would end differently, `looser` of them laxer under the candidate, and
    `otherwise` the same for other reasons. `skipped` could not be compared, for too many waited or one of the two gave no answer. The
    candidate decided `decided`. `flipped` counts (intent, from what to what, reason)."""

    compared: int = 0
    flips: int = 0
    looser: int = 0
    otherwise: int = 0
    skipped: int = 0
    decided: int = 0
    current: Times = field(default_factory=Times)
    candidate: Times = field(default_factory=Times)
    flipped: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def flip(self, intent: str, what: str, reason: str, count: int = 1) -> None:
        """Reasons and intents are words of catalogs and policies; a list that grows without end would take the memory."""
        name = (intent, what, reason)
        self.flipped[name if name in self.flipped or len(self.flipped) < MOST_NAMED else (OTHERS, OTHERS, OTHERS)] += count

    def add(self, other: Figures) -> None:
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.current.add(other.current)
        self.candidate.add(other.candidate)
        for (intent, what, reason), count in other.flipped.items():
            self.flip(intent, what, reason, count)

    def reset(self) -> None:
        """In place: those who count go on."""
        for name in COUNTS:
            setattr(self, name, 0)
        for times in (self.current, self.candidate):
            times.reset()
        self.flipped.clear()

    def to_json(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in COUNTS},
            "current": self.current.to_json(),
            "candidate": self.candidate.to_json(),
            "flipped": [[*name, count] for name, count in self.flipped.items()],
        }

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Figures:
        figures = Figures()
        for name in COUNTS:
            setattr(figures, name, int(document[name]))
        figures.current, figures.candidate = Times.from_json(document["current"]), Times.from_json(document["candidate"])
        for intent, what, reason, count in document["flipped"]:
            figures.flip(str(intent), str(what), str(reason), int(count))
        return figures
