from __future__ import annotations

from opentelemetry.sdk.metrics.export import Histogram, Sum
from opentelemetry.sdk.resources import Resource

from router.telemetry.metrics import Metrics
from router.telemetry.otlp_metrics import metrics_data
from tests.unit.telemetry.values import ROUTED, decision


def exported() -> dict[str, object]:
    metrics = Metrics()
    for _ in range(3):
        metrics.decided(decision())
        metrics.ended(decision(), ROUTED)
    data = metrics_data(metrics.registry, Resource({}))
    return {metric.name: metric for metric in data.resource_metrics[0].scope_metrics[0].metrics}


def test_counters_become_sums_with_dotted_names() -> None:
    """The collector gets OpenTelemetry's names and cumulative sums."""
    metric = exported()["lockgate.requests"]
    assert isinstance(metric.data, Sum)  # type: ignore[attr-defined]
    assert [point.value for point in metric.data.data_points] == [3]  # type: ignore[attr-defined]


def test_histograms_keep_count_sum_and_buckets() -> None:
    """Cumulative `le` buckets become each bucket's own count."""
    metric = exported()["lockgate.request.duration"]
    assert isinstance(metric.data, Histogram)  # type: ignore[attr-defined]
    (point,) = metric.data.data_points  # type: ignore[attr-defined]
    assert point.count == 3
    assert sum(point.bucket_counts) == 3
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
    assert round(point.sum, 6) == 0.015
