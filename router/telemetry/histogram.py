"""A histogram that costs little to feed: ten values a request, each of which prometheus-client would take two locks and a walk for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import inf

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Histogram(Collector):
    """Fed by one thread; any may collect, and then finds a value that is being added counted or not. `buckets`: upper bounds, rising."""

    def __init__(self, name: str, help_text: str, labels: Sequence[str], buckets: Sequence[float], unit: str, registry: CollectorRegistry):
        self._name = f"{name}_{unit}" if unit else name
        self._help, self._labels, self._unit = help_text, labels, unit
        self._bounds = tuple(buckets)
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}
        if not labels:
            self._begin(())  # there from the beginning: nothing was seen, which is not the same as nothing known
        registry.register(self)

    def observe(self, value: float, *labels: str) -> None:
        counts = self._counts.get(labels)
        if counts is None:
            counts = self._begin(labels)
        counts[bisect_left(self._bounds, value)] += 1
        self._sums[labels] += value

    def cumulated(self, *labels: str) -> list[tuple[float, int]]:
        """How many values were no larger, by bound; the last one is infinite."""
        counts = self._counts.get(labels, [0] * (len(self._bounds) + 1))
        return list(zip((*self._bounds, inf), accumulate(counts), strict=True))

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._help, labels=self._labels, unit=self._unit)
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        for labels, counts in list(self._counts.items()):
            family.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), self._sums[labels])
        yield family

    def _begin(self, labels: tuple[str, ...]) -> list[int]:
        self._sums[labels] = 0.0
        counts = self._counts[labels] = [0] * (len(self._bounds) + 1)
        return counts
