"""Figures out of the metrics page: sums over workers since they started, and quantiles to the width of a bucket."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from prometheus_client.parser import text_string_to_metric_families

Labels = tuple[tuple[str, str], ...]
WORKER, LE = "worker", "le"


@dataclass(frozen=True, slots=True)
class Times:
    """Of a histogram, in seconds. `quantiles` are upper ends of buckets: no more than that for so many; None beyond the last."""

    count: int
    quantiles: Mapping[int, float | None]


class Figures:
    def __init__(self, text: str) -> None:
        self._samples: dict[str, dict[Labels, float]] = defaultdict(lambda: defaultdict(float))
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != WORKER))
                self._samples[sample.name][labels] += sample.value

    def total(self, name: str, **labels: str) -> float:
        return sum(value for found, value in self._samples.get(name, {}).items() if labels.items() <= dict(found).items())

    def by(self, name: str, label: str) -> dict[str, float]:
        """Without what is zero, the largest first."""
        found: dict[str, float] = defaultdict(float)
        for labels, value in self._samples.get(name, {}).items():
            found[dict(labels).get(label, "")] += value
        return {key: value for key, value in sorted(found.items(), key=lambda each: -each[1]) if value}

    def times(self, name: str, percents: tuple[int, ...] = (50, 95, 99)) -> Times:
        buckets: dict[float, float] = defaultdict(float)
        for labels, value in self._samples.get(f"{name}_bucket", {}).items():
            buckets[float(dict(labels)[LE])] += value
        count = buckets.get(inf, 0.0)
        return Times(int(count), {percent: _quantile(buckets, count * percent / 100) for percent in percents})


def _quantile(buckets: Mapping[float, float], rank: float) -> float | None:
    if not rank:
        return None
    end = next((end for end in sorted(buckets) if buckets[end] >= rank), inf)
    return None if end == inf else end
