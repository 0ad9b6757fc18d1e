"""What people said of sampled decisions, as something to count: one sample from each task for labelling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from router.adaptation.estimating import Drawn
from router.adaptation.labelling import GONE, OUT_OF_SCOPE, UNSURE
from router.adaptation.sampling import Strategy
from router.audit.records.times import nanoseconds
from router.decision import Status
from router.ports import Lesson

DAY_NS = 86_400 * 1_000_000_000
CALIBRATED = frozenset({"static", "encoder", "llm"})
"""Tiers whose confidence is a probability that was fitted; a rule's 1.0 is none."""


class Basis(StrEnum):
    """`random` ones alone, which every decision could become alike; or all others besides, each weighed by the inverse of how likely it
    was drawn."""

    RANDOM = "random"
    WEIGHTED = "weighted"


@dataclass(frozen=True, slots=True)
class Sample:
    """`labels`: how many people said so, without who was unsure. `chance`: that a random one is drawn; `probability`: that this one is, by
    either strategy; 0 where the task does not say."""

    decided_ns: int
    day: tuple[str, str]
    strategies: frozenset[str]
    chance: float
    probability: float
    status: str
    intent: str
    confidence: float | None
    model: str
    catalog: str
    labels: tuple[tuple[str, int], ...]
    unsure: bool
    gone: bool

    @property
    def accepted(self) -> bool:
        return self.status == Status.CLASSIFIED

    @property
    def hit(self) -> float:
        """How many of those who labelled it say that it ended as it should: with its intent or, where it has none, without."""
        right = sum(count for label, count in self.labels if self._fits(label))
        return right / sum(count for _, count in self.labels)

    def _fits(self, label: str) -> bool:
        return label == self.intent if self.accepted else label == OUT_OF_SCOPE


def sample(task: Lesson) -> Sample:
    terms = task.terms
    said = Counter[str](answer["label"] for answer in terms["answers"].values())
    unsure = said.pop(UNSURE, 0)
    decided_ns = nanoseconds(terms["decided"]) if terms.get("decided") else task.at_ns
    confidence = terms.get("confidence") if terms.get("tier") in CALIBRATED else None
    return Sample(
        decided_ns,
        (str(decided_ns // DAY_NS), terms["tenant"] or ""),
        frozenset(terms["strategies"]),
        float(terms.get("chance") or 0.0),
        float(terms["probability"]),
        terms["status"],
        terms["classified"] or "",
        None if confidence is None else float(confidence),
        terms.get("model_digest") or "",
        terms.get("catalog_digest") or "",
        tuple(sorted(said.items())),
        unsure=unsure > 0 and not said,
        gone=task.state == GONE and not said,
    )


def full_days(samples: Iterable[Sample], a_day: int) -> frozenset[tuple[str, str]]:
    """Days of a tenant on which one kind reached its cap, so that its probability says too much."""
    taken = Counter((each.day, name) for each in samples for name in each.strategies)
    return frozenset(day for (day, _), count in taken.items() if count >= a_day)


def drawn(samples: Sequence[Sample], basis: Basis, full: frozenset[tuple[str, str]]) -> list[tuple[Sample, Drawn]]:
    """Those that count by this basis, with their weights. Where a cap was reached only random ones do: the first of a day are as good as
    any, but there is no telling how many unsure ones they stand for."""
    found = []
    for each in samples:
        if not each.labels or not each.chance:
            continue
        by_chance = Strategy.RANDOM in each.strategies
        if basis is Basis.RANDOM or each.day in full:
            if by_chance:
                found.append((each, Drawn(each.hit, each.chance)))
        else:  # whatever took it: the probability is that of being taken by any
            found.append((each, Drawn(each.hit, each.probability)))
    return found
