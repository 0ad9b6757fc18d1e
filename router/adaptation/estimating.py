"""Shares of everything, told from samples that were drawn with known probabilities: an estimate and a 95 % interval.

One probability for all: the plain share, with Wilson's interval. Several: each sample weighs 1 / probability and the estimate is Hájek's,
the weighted mean. Samples of one probability are a plain sample among themselves, so that each such group has its own Wilson interval;
these are put together as Zou and Donner do (MOVER: each side's distances add up as squares; "Construction of confidence limits about
effect measures", Statistics in Medicine 27, 2008), with the uncertainty of how large a part of everything each group is. A group of which
nothing was wrong is therefore never taken for one that cannot be.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

Z = 1.959963984540054
"""Two-sided 95 %."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its interval, told from `count` samples."""

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """`hit` is 0..1: between them where people do not agree. `probability`: that such a one is drawn, above 0."""

    hit: float
    probability: float


def wilson(share: float, count: int, z: float = Z) -> tuple[float, float]:
    """Wilson's score interval of a share of `count` > 0."""
    spread = z * z / count
    middle, half = share + spread / 2, z * sqrt(share * (1 - share) / count + spread / (4 * count))
    low, high = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
    return min(share, max(0.0, low)), max(share, min(1.0, high))  # rounded, the share could lie outside


def estimate(drawn: Sequence[Drawn]) -> Estimate:
    """Of one sample at least."""
    groups: dict[float, list[float]] = defaultdict(list)
    for each in drawn:
        groups[each.probability].append(each.hit)
    total = sum(len(hits) / probability for probability, hits in groups.items())
    parts = [(len(hits) / probability / total, sum(hits) / len(hits), len(hits)) for probability, hits in groups.items()]
    value = sum(weight * share for weight, share, _ in parts)
    below = above = 0.0
    for weight, share, count in parts:
        low, high = wilson(share, count)
        mixing = (Z * (share - value)) ** 2 / count  # that more or fewer of this group could have been drawn
        below += weight**2 * ((share - low) ** 2 + mixing)
        above += weight**2 * ((high - share) ** 2 + mixing)
    return Estimate(value, max(0.0, value - sqrt(below)), min(1.0, value + sqrt(above)), len(drawn))
