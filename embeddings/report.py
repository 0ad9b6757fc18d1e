"""What a training report says. Shares are fractions of one; texts are the catalog's own examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SMALL = 20  # held-out answers under which a share says little


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers with a confidence in `low`..`high`: how many, their mean confidence, the share that is right, and its 95 % interval."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Accepted:
    """Accepting the most confident `coverage` of the answers, from `confidence` on: the share that is wrong, and a bound that the true
    share exceeds in one of twenty cases at most."""

    coverage: float
    confidence: float
    error: float
    bound: float


@dataclass(frozen=True, slots=True)
class AtRisk:
    """The operating point for a stated risk: `confidence` is None and `bound` says nothing where the risk cannot be proved. `accepted` of
    the answers are from there on, `wrong` of these wrong. `needed`: about how many held-out answers of this quality would prove it, None
    where no number would."""

    max_error: float
    confidence: float | None
    coverage: float
    accepted: int
    wrong: int
    bound: float | None
    needed: int | None


@dataclass(frozen=True, slots=True)
class IntentFigures:
    """`held_out` of the examples were answered. `recall_least` and `recall_most`: its 95 % interval. None where there is nothing to say it
    of. `small`: too few for the shares to mean much."""

    intent: str
    examples: int
    held_out: int
    precision: float | None
    recall: float | None
    f1: float | None
    recall_least: float
    recall_most: float
    small: bool


@dataclass(frozen=True, slots=True)
class Confusion:
    """`count` examples of `intent` were taken for `taken_for`; some of them, the most confident first."""

    intent: str
    taken_for: str
    count: int
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Suspect:
    """An example of `intent` that is as likely `looks_like` (`confidence`) as that intent's own examples are on average, while for its own
    intent it got `own`. `nearest`: the most similar example there, with its cosine."""

    text: str
    intent: str
    looks_like: str
    confidence: float
    own: float
    nearest: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Alike:
    """Two examples of different intents that say the same."""

    text: str
    intent: str
    other_text: str
    other_intent: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Overlap:
    """Of the `of` examples of both intents `confused` were taken for the other one, and `crossed` lie nearest to an example of it."""

    first: str
    second: str
    confused: int
    crossed: int
    of: int


@dataclass(frozen=True, slots=True)
class Suggestion:
    code: str
    intents: tuple[str, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class Report:
    """Lists are whole, the worst first. Texts are the catalog's own examples."""

    model: str
    examples: int
    held_out: int
    accuracy: float
    calibration_error: float
    intents: tuple[IntentFigures, ...]
    confusions: tuple[Confusion, ...]
    reliability: tuple[Bin, ...]
    risk_coverage: tuple[Accepted, ...]
    coverage: tuple[AtRisk, ...]
    mislabelled: tuple[Suspect, ...]
    alike: tuple[Alike, ...]
    overlaps: tuple[Overlap, ...]
    suggestions: tuple[Suggestion, ...]


def report_from(content: dict[str, Any]) -> Report:
    """From what `asdict` and JSON made of one. Raises TypeError or KeyError for anything else."""
    parts = {name: tuple(kind(**_frozen(each)) for each in content[name]) for name, kind in PARTS.items()}
    return Report(**{**content, **parts})


def _frozen(part: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in part.items()}


PARTS: dict[str, type[Any]] = {
    "intents": IntentFigures,
    "confusions": Confusion,
    "reliability": Bin,
    "risk_coverage": Accepted,
    "coverage": AtRisk,
    "mislabelled": Suspect,
    "alike": Alike,
    "overlaps": Overlap,
    "suggestions": Suggestion,
}
