from __future__ import annotations

from router.control.console.figures import Figures

PAGE = """# TYPE lockgate_requests_total counter
lockgate_requests_total{result="routed",worker="0"} 3.0
lockgate_requests_total{result="routed",worker="1"} 2.0
lockgate_requests_total{result="failed",worker="1"} 1.0
lockgate_requests_total{result="shed",worker="1"} 0.0
# TYPE lockgate_decision_duration_seconds histogram
lockgate_decision_duration_seconds_bucket{le="0.001",worker="0"} 5.0
lockgate_decision_duration_seconds_bucket{le="0.01",worker="0"} 9.0
lockgate_decision_duration_seconds_bucket{le="+Inf",worker="0"} 10.0
lockgate_decision_duration_seconds_bucket{le="0.001",worker="1"} 0.0
lockgate_decision_duration_seconds_bucket{le="0.01",worker="1"} 0.0
lockgate_decision_duration_seconds_bucket{le="+Inf",worker="1"} 0.0
lockgate_decision_duration_seconds_count{worker="0"} 10.0
lockgate_decision_duration_seconds_sum{worker="0"} 0.1
"""


def test_figures_are_of_all_workers_together() -> None:
    """Sums by result, without those that are zero, the largest first."""
    figures = Figures(PAGE)
    assert figures.by("lockgate_requests_total", "result") == {"routed": 5.0, "failed": 1.0}
    assert figures.total("lockgate_requests_total", result="routed") == 5.0
    assert figures.total("lockgate_nothing_total") == 0.0


def test_a_quantile_is_no_finer_than_its_bucket() -> None:
    """The upper end of the bucket in which it lies; None beyond the last, and where nothing was measured."""
    times = Figures(PAGE).times("lockgate_decision_duration_seconds", (50, 90, 99))
    assert (times.count, times.quantiles) == (10, {50: 0.001, 90: 0.01, 99: None})
    assert Figures("").times("lockgate_decision_duration_seconds").quantiles == {50: None, 95: None, 99: None}
