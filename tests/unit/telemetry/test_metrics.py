from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from router.errors import AuditError
from router.telemetry.merging import merge
from router.telemetry.metrics import REASONS_KEPT, Metrics
from router.telemetry.names import METRICS
from router.telemetry.setup import TimedRecorder
from tests.unit.telemetry.values import ROUTED, decision


def samples(page: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(page) for sample in family.samples]


def value(page: str, name: str, **labels: str) -> float:
    found = [sample.value for sample in samples(page) if sample.name == name and labels.items() <= sample.labels.items()]
    assert len(found) == 1, (name, labels, found)
    return found[0]


def filled() -> Metrics:
    metrics = Metrics()
    metrics.decided(decision())
    metrics.ended(decision(), ROUTED)
    metrics.refused("rate_limited")
    metrics.recorded(2_000_000, failed=False)
    return metrics


def test_a_request_is_counted_by_result_route_and_verdict() -> None:
    """One routed request raises each counter that it belongs to by one."""
    page = filled().exposition()
    assert value(page, "lockgate_requests_total", result="routed", route="payments.ask") == 1
    assert value(page, "lockgate_verdicts_total", effect="allow", reason="access.granted") == 1
    assert value(page, "lockgate_classifications_total", status="classified", tier="encoder") == 1
    assert value(page, "lockgate_refusals_total", reason="rate_limited") == 1


def test_every_stage_has_a_latency() -> None:
    """Stages of the pipeline and steps of the classifier are observed in seconds."""
    page = filled().exposition()
    assert value(page, "lockgate_stage_duration_seconds_sum", stage="policy") == 0.0002
    assert value(page, "lockgate_stage_duration_seconds_count", stage="embed") == 1


def test_reasons_that_never_end_become_other() -> None:
    """A policy that makes up a new reason code for every request does not take the memory."""
    metrics = Metrics()
    for number in range(REASONS_KEPT + 50):
        metrics.refused(f"made.up.{number}")
    assert value(metrics.exposition(), "lockgate_refusals_total", reason="other") == 50


def test_pages_of_several_workers_become_one() -> None:
    """Each sample keeps its value and gets its worker's label; a family stands once."""
    page = merge({"0": filled().exposition(), "1": filled().exposition()}, [])
    assert value(page, "lockgate_requests_total", worker="0") == 1
    assert value(page, "lockgate_requests_total", worker="1") == 1
    assert page.count("# TYPE lockgate_requests counter") + page.count("# TYPE lockgate_requests_total counter") == 1


def test_every_metric_of_a_worker_has_a_documented_name() -> None:
    """No metric is made whose dotted name is not in the table of names."""
    known = {name.replace(".", "_") for name in METRICS}
    families = {family.name.removesuffix("_seconds") for family in text_string_to_metric_families(filled().exposition())}
    assert families <= known


def test_calls_of_the_language_model_are_counted() -> None:
    """Calls by result, tokens by kind as the server counted them."""
    metrics = Metrics()
    metrics.llm_called("answered", 120, 8)
    metrics.llm_called("llm_budget", 0, 0)
    page = metrics.exposition()
    assert value(page, "lockgate_llm_calls_total", result="answered") == 1
    assert value(page, "lockgate_llm_calls_total", result="llm_budget") == 1
    assert value(page, "lockgate_llm_tokens_total", kind="prompt") == 120
    assert value(page, "lockgate_llm_tokens_total", kind="completion") == 8


def test_requests_under_way_are_told_as_they_are_now() -> None:
    """The gauge asks whoever counts each time that the page is made."""
    metrics, count = Metrics(), [3]
    metrics.count_active(lambda: count[0])
    assert value(metrics.exposition(), "lockgate_requests_active") == 3
    count[0] = 1
    assert value(metrics.exposition(), "lockgate_requests_active") == 1


async def test_a_decision_takes_its_stages_and_its_record() -> None:
    """A durable decision is observed once, with both; one that could not be recorded is a failure and no latency."""

    class Records:
        def __init__(self, refusing: bool) -> None:
            self.refusing = refusing

        async def decided(self, *_: object) -> None:
            if self.refusing:
                raise AuditError("the disk is full", "audit_disk_full")

        async def ended(self, *_: object) -> None: ...

    metrics = Metrics()
    await TimedRecorder(Records(False), metrics).decided(decision(), {})
    with pytest.raises(AuditError):
        await TimedRecorder(Records(True), metrics).decided(decision(), {})
    page = metrics.exposition()
    assert value(page, "lockgate_decision_duration_seconds_count") == 1
    stages = sum(spent for _, spent in decision().stages_ns) / 1e9
    assert value(page, "lockgate_decision_duration_seconds_sum") == pytest.approx(
        stages + value(page, "lockgate_audit_duration_seconds_sum"), rel=0.5
    )
    assert value(page, "lockgate_audit_failures_total") == 1
