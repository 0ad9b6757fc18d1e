from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """`raw`: the head's logit; `calibrated`: the probability that this is the intent, given that some intent is."""

    intent: str
    raw: float
    calibrated: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """`candidates`: the best first, at most five.

    `confidence`: probability that the first is right, given that the text is in scope; `margin`: how far the second is
    below it; `scope`: probability that the text is about any intent, given even odds beforehand; `novelty`: the share of
    held-out texts about intents that looked more familiar than this one, None without any.
    """

    candidates: tuple[Candidate, ...]
    confidence: float
    margin: float
    scope: float
    novelty: float | None
    embed_us: float
    head_us: float
