"""Is a text about any intent at all? A small logistic gate beside the head, because confidence does not answer this."""

from __future__ import annotations

import math
from dataclasses import dataclass

FEATURES = ("energy", "max_logit", "gap", "log_top_probability", "nearest", "background")


@dataclass(frozen=True, slots=True)
class ScopeGate:
    """P(in scope) of a feature row, where in-scope and out-of-scope are as likely as each other beforehand."""

    coefficients: tuple[float, ...]
    intercept: float

    def probability(self, features: tuple[float, ...]) -> float:
        score = self.intercept
        for coefficient, feature in zip(self.coefficients, features, strict=True):
            score += coefficient * feature
        return 1.0 / (1.0 + math.exp(-score)) if score > -700.0 else 0.0


def scope_features(
    top: float, second: float, log_norm: float, classes: int, log_top_probability: float, nearest: float, background: float | None
) -> tuple[float, ...]:
    """In the order of FEATURES. The energy is a log *mean* exp: comparable between heads of different sizes. `background` is the logit of
    the background's row; where there is none the feature is always 0 and says nothing."""
    against = 0.0 if background is None else background - log_norm
    return (log_norm - math.log(classes), top, top - second, log_top_probability, nearest, against)
