from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from router.telemetry.merging import merge
from router.telemetry.metrics import REASONS_KEPT, Metrics
from router.telemetry.names import METRICS
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
