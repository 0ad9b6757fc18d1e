"""From signals and a classification to a risk level, with the named contributions that made it.

The score is a noisy-or, 1 − Π(1 − contribution): every contribution raises it, none can lower it, and it stays within 0..1. The level comes
from the score's thresholds and is never below the intent's own. Whatever is not known counts as the worse of what it could be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from router.decision import Classification, Contribution, Level, Risk, Signals, Status

LEVELS = (Level.LOW, Level.MEDIUM, Level.HIGH, Level.CRITICAL)
DEFAULT_WEIGHTS: Mapping[str, float] = {
    "intent.low": 0.1,
    "intent.medium": 0.35,
    "intent.high": 0.65,
    "intent.critical": 0.9,
    "pii": 0.12,
    "secret": 0.5,
    "injection": 0.8,
    "injection_likely": 0.4,
    "unknown_signals": 0.35,
    "hidden_characters": 0.3,
    "mixed_script": 0.3,
    "size": 0.05,
    "unusual_size": 0.15,
    "unusual_rate": 0.25,
    "learning": 0.05,
    "uncertainty": 0.4,
    "novelty": 0.2,
    "other": 0.3,  # a finding that has no weight
}
_INTENT = {level: f"intent.{level.value}" for level in LEVELS}
_GROUPS = {
    "text.hidden_characters": "hidden_characters",
    "text.mixed_script": "mixed_script",
    "unusual.size": "unusual_size",
    "unusual.rate": "unusual_rate",
}
LIKELY = 0.8  # probability of an injection from which on it counts
FAMILIAR = 0.9  # novelty that an ordinary text may well have


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Least score of each level; must rise."""

    medium: float = 0.3
    high: float = 0.6
    critical: float = 0.85


DEFAULT_LEVELS = Thresholds()


class RiskModel:
    """`weights` replace the built-in ones by name, each in 0..1; a finding's full name (`pii.iban`) may have a weight of its own.
    Raises ValueError for a weight out of range."""

    def __init__(self, levels: Thresholds = DEFAULT_LEVELS, weights: Mapping[str, float] | None = None) -> None:
        self._weights = {**DEFAULT_WEIGHTS, **(weights or {})}
        for name, weight in self._weights.items():
            if not 0.0 <= weight <= 1.0:
                raise ValueError(f"the risk weight '{name}' is {weight}, which is not in 0..1")
        self._levels = ((levels.critical, Level.CRITICAL), (levels.high, Level.HIGH), (levels.medium, Level.MEDIUM))

    def weigh(self, intent_risk: str | None, signals: Signals, classification: Classification) -> Risk:
        """`intent_risk` is a level's name; None where there is no intent."""
        own = _intent_level(intent_risk, classification)
        parts = [] if own is None else [("intent", self._weights[_INTENT[own]])]
        parts += self._of_classification(classification)
        parts += self._of_signals(signals)
        contributions = tuple([Contribution(name, score) for name, score in parts if score > 0.0])
        score = noisy_or([contribution.score for contribution in contributions])
        reached = self._reached(score)
        return Risk(reached if own is None else max(reached, own, key=LEVELS.index), score, contributions)

    def _reached(self, score: float) -> Level:
        for least, level in self._levels:
            if score >= least:
                return level
        return Level.LOW

    def _of_classification(self, classification: Classification) -> list[tuple[str, float]]:
        if classification.status is Status.SKIPPED:
            return []
        unsure = _missing(classification.confidence) if classification.status is Status.CLASSIFIED else 1.0
        parts = (
            ("uncertainty", unsure),
            ("novelty", _novel(classification.novelty)),
            ("injection_likely", _likely(classification.injection)),
        )
        return [(name, share * self._weights[name]) for name, share in parts]

    def _of_signals(self, signals: Signals) -> list[tuple[str, float]]:
        worst: dict[str, float] = {}
        for finding in signals.findings:
            name = _GROUPS.get(finding.name) or finding.name.partition(".")[0]
            weight = self._weights.get(finding.name, self._weights.get(name, self._weights["other"]))
            worst[name] = max(worst.get(name, 0.0), weight * (1.0 - _missing(finding.score)))
        if signals.unknown:
            worst["unknown_signals"] = self._weights["unknown_signals"]
        if signals.learning:
            worst["learning"] = self._weights["learning"]
        return list(worst.items())


def noisy_or(scores: Iterable[float]) -> float:
    left = 1.0
    for score in scores:
        left *= 1.0 - score
    return 1.0 - left


def _intent_level(intent_risk: str | None, classification: Classification) -> Level | None:
    """An intent whose risk is not known is taken for critical."""
    if intent_risk is None:
        return Level.CRITICAL if classification.status is Status.CLASSIFIED else None
    return Level(intent_risk) if intent_risk in LEVELS else Level.CRITICAL


def _missing(share: float | None) -> float:
    """What `share` lacks of 1; all of it where there is no usable number."""
    return 1.0 - min(1.0, share) if share is not None and share >= 0.0 else 1.0


def _novel(novelty: float | None) -> float:
    """How far into the most unusual tenth; all the way where there is no usable number."""
    if novelty is None or not 0.0 <= novelty <= 1.0:
        return 1.0
    return max(0.0, novelty - FAMILIAR) / (1.0 - FAMILIAR)


def _likely(injection: float | None) -> float:
    """None means that the encoder was not asked: a rule or the static tier decided, or nobody did, which is `uncertainty`."""
    if injection is None:
        return 0.0
    return max(0.0, injection - LIKELY) / (1.0 - LIKELY) if 0.0 <= injection <= 1.0 else 1.0
