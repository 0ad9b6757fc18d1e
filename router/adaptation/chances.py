"""Shares with intervals, and the sums that are made of them. Everything at 95 %.

Wilson's interval is of use also for few requests and for shares near none or all; Newcombe's way (MOVER) puts such intervals together for
weighted sums, of which a difference is one: Newcombe, Statistics in Medicine 17 (1998), method 10.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Z = 1.959964
P95 = 0.95


@dataclass(frozen=True, slots=True)
class Share:
    mean: float
    low: float
    high: float


def share(good: int, of: int) -> Share:
    """Of nothing anything is said."""
    if of == 0:
        return Share(0.5, 0.0, 1.0)
    mean, square = good / of, Z * Z / of
    centre = (mean + square / 2) / (1 + square)
    reach = Z * math.sqrt(mean * (1 - mean) / of + square / (4 * of)) / (1 + square)
    return Share(mean, max(0.0, centre - reach) if good else 0.0, min(1.0, centre + reach) if good < of else 1.0)


def together(parts: Iterable[tuple[float, Share]]) -> Share:
    """The sum of independent shares, each times its weight, which may be negative."""
    mean = below = above = 0.0
    for weight, each in parts:
        down, up = (each.mean - each.low, each.high - each.mean)[:: 1 if weight > 0 else -1]
        mean += weight * each.mean
        below += (weight * down) ** 2
        above += (weight * up) ** 2
    return Share(mean, mean - math.sqrt(below), mean + math.sqrt(above))


def p95(weighted: Iterable[tuple[int, float]]) -> int | None:
    """The least value that 95 of 100 do not exceed, by their weights."""
    listed = sorted(each for each in weighted if each[1] > 0)
    wanted, passed = P95 * sum(weight for _, weight in listed) - 1e-9, 0.0
    for value, weight in listed:
        passed += weight
        if passed >= wanted:
            return value
    return None


def p95_between(ascending: Sequence[int]) -> tuple[int, int] | None:
    """Between which of these values the 95th percentile lies, by their order alone; None of too few to tell how high it may be."""
    count = len(ascending)
    reach = Z * math.sqrt(count * P95 * (1 - P95))
    low, high = math.floor(count * P95 - reach), math.ceil(count * P95 + reach)
    if low < 1 or high > count:
        return None
    return ascending[low - 1], ascending[high - 1]
