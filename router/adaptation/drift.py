"""What is asked for and how it is understood, in one time beside another: by the measures that the alerts have.

The mix of intents by total variation: the share of decisions that would have to be about something else for both to be alike. Confidences
by the largest distance of their distributions (Kolmogorov and Smirnov), to the width of a step. Beside each what chance alone shows, on the
average, among so many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import pi, sqrt
from typing import Any

from router.decision import Status

MIX_MOVED, CONFIDENCE_MOVED, ABSTAINED_TIMES, ABSTAINED_LEAST = 0.3, 0.2, 2.0, 0.05
"""From where on the alerts fire: `helm/files/alerts.yaml`."""
LEAST = 100
"""Decisions of either time below which nothing is said to have moved."""
KOLMOGOROV_MEAN = 0.8687311606361591  # sqrt(pi / 2) ln 2
ABSTAINED = (Status.AMBIGUOUS, Status.UNDETERMINED, Status.OUT_OF_SCOPE)
NONE = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """Counts of decisions: by intent (`NONE` where there is none), by status of the classification, and of those with a confidence in equal
    steps from 0 to 1."""

    decisions: int
    intents: Mapping[str, int]
    statuses: Mapping[str, int]
    confidences: Sequence[int]


def profile(groups: Sequence[Mapping[str, Any]], distributions: Sequence[Mapping[str, Any]], bins: int) -> Profile:
    """Of counts by `intent` and `classification`, and of confidences by anything."""
    intents, statuses = dict[str, int](), dict[str, int]()
    for group in groups:
        for counts, name in ((intents, group["intent"]), (statuses, group["classification"])):
            counts[name or NONE] = counts.get(name or NONE, 0) + group["count"]
    confidences = [sum(counts) for counts in zip(*(each["counts"] for each in distributions), strict=True)] or [0] * bins
    return Profile(sum(intents.values()), intents, statuses, confidences)


def compared(now: Profile, before: Profile) -> dict[str, Any]:
    enough = min(now.decisions, before.decisions) >= LEAST
    mix, confidence = _mix(now, before), _confidence(now, before)
    abstained = [_share(each, ABSTAINED) for each in (now, before)]
    asks_more = abstained[0] > max(ABSTAINED_LEAST, ABSTAINED_TIMES * abstained[1])
    return {
        "decisions": [now.decisions, before.decisions],
        "mix": {**mix, "moved": enough and mix["distance"] > MIX_MOVED},
        "confidence": {**confidence, "moved": enough and confidence["distance"] > CONFIDENCE_MOVED},
        "abstained": {"shares": abstained, "moved": enough and asks_more},
        "out_of_scope": {"shares": [_share(each, (Status.OUT_OF_SCOPE,)) for each in (now, before)]},
        "statuses": _table(now.statuses, before.statuses, now.decisions, before.decisions),
    }


def _mix(now: Profile, before: Profile) -> dict[str, Any]:
    rows = _table(now.intents, before.intents, now.decisions, before.decisions)
    distance = sum(abs(row["shares"][0] - row["shares"][1]) for row in rows) / 2 if now.decisions and before.decisions else 0.0
    every = now.decisions + before.decisions
    spreads = [(count := sum(row["counts"])) / every * (1 - count / every) for row in rows]
    by_chance = sum(map(sqrt, spreads)) * sqrt(2 / pi) * _thinness(now.decisions, before.decisions) / 2
    return {"distance": distance, "by_chance": min(1.0, by_chance), "intents": rows}


def _confidence(now: Profile, before: Profile) -> dict[str, Any]:
    totals = sum(now.confidences), sum(before.confidences)
    cumulated = [[part / (total or 1) for part in accumulate(each.confidences)] for each, total in zip((now, before), totals, strict=True)]
    distance = max((abs(one - other) for one, other in zip(*cumulated, strict=True)), default=0.0) if all(totals) else 0.0
    by_chance = min(1.0, KOLMOGOROV_MEAN * _thinness(*totals))
    return {"distance": distance, "by_chance": by_chance, "counts": [list(now.confidences), list(before.confidences)]}


def _thinness(one: int, other: int) -> float:
    return sqrt(1 / one + 1 / other) if one and other else 0.0


def _share(found: Profile, statuses: Sequence[str]) -> float:
    return sum(found.statuses.get(status, 0) for status in statuses) / found.decisions if found.decisions else 0.0


def _table(now: Mapping[str, int], before: Mapping[str, int], *totals: int) -> list[dict[str, Any]]:
    """What changed most first; the name is None where there is none."""
    rows = []
    for name in {*now, *before}:
        counts = [now.get(name, 0), before.get(name, 0)]
        rows.append({"name": name or None, "counts": counts, "shares": [n / (total or 1) for n, total in zip(counts, totals, strict=True)]})
    return sorted(rows, key=lambda row: (-round(abs(row["shares"][0] - row["shares"][1]), 9), row["name"] or ""))
