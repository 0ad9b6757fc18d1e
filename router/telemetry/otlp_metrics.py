"""The numbers of a prometheus-client registry as OTLP metrics: cumulative sums and explicit-bucket histograms, with dotted names."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Sample

from router.telemetry.names import METRICS, SCHEMA_URL

CUMULATIVE = AggregationTemporality.CUMULATIVE
STARTED_NS = time.time_ns()
_NAMES = {name.replace(".", "_"): name for name in METRICS}


def metrics_data(registry: CollectorRegistry, resource: Resource) -> MetricsData:
    now = time.time_ns()
    scope = ScopeMetrics(
        InstrumentationScope("lockgate", schema_url=SCHEMA_URL), [_metric(family, now) for family in registry.collect()], SCHEMA_URL
    )
    return MetricsData([ResourceMetrics(resource, [scope], SCHEMA_URL)])


def _metric(family: Family, now: int) -> Metric:
    seconds = family.name.endswith("_seconds")
    base = family.name.removesuffix("_seconds")
    data: Sum | Gauge | Histogram
    if family.type == "histogram":
        data = Histogram(list(_histograms(family.samples, now)), CUMULATIVE)
    elif family.type == "counter":
        data = Sum(list(_numbers(family.samples, now, "_total")), CUMULATIVE, is_monotonic=True)
    else:
        data = Gauge(list(_numbers(family.samples, now, "")))
    return Metric(_NAMES.get(base, base), family.documentation, "s" if seconds else "1", data)


def _numbers(samples: Iterable[Sample], now: int, suffix: str) -> Iterable[NumberDataPoint]:
    for sample in samples:
        if sample.name.endswith(suffix) and not sample.name.endswith("_created"):
            yield NumberDataPoint(dict(sample.labels), STARTED_NS, now, sample.value)


def _histograms(samples: Iterable[Sample], now: int) -> Iterable[HistogramDataPoint]:
    """prometheus-client counts buckets cumulatively with `le` labels; OTLP wants each bucket's own count."""
    series: dict[tuple[tuple[str, str], ...], dict[str, Any]] = defaultdict(lambda: {"bounds": [], "sum": 0.0})
    for sample in samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        found = series[tuple(sorted(labels.items()))]
        if sample.name.endswith("_bucket"):
            found["bounds"].append((float(sample.labels["le"]), int(sample.value)))
        elif sample.name.endswith("_sum"):
            found["sum"] = sample.value
    for labels_key, found in series.items():
        bounds = sorted(found["bounds"])
        counts = [upto - below for (_, upto), below in zip(bounds, [0, *(count for _, count in bounds)], strict=False)]
        total = bounds[-1][1] if bounds else 0
        limits = [bound for bound, _ in bounds[:-1]]
        yield HistogramDataPoint(dict(labels_key), STARTED_NS, now, total, found["sum"], counts, limits, float("nan"), float("nan"))
