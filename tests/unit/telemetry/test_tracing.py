from __future__ import annotations

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from router.decision import Outcome, Result, TraceContext
from router.telemetry import names
from router.telemetry.tracing import GivenIds, Tracing
from tests.unit.telemetry.values import ROUTED, TRACE, decision


def traced(trace: TraceContext, outcome: Outcome = ROUTED) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(ALWAYS_ON, id_generator=GivenIds(), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    Tracing(provider).request(decision(trace), outcome, trace)
    return exporter


def test_the_span_has_the_ids_that_went_upstream() -> None:
    """The request's span is the one that `traceparent` named, below the caller's."""
    span = next(each for each in traced(TRACE).get_finished_spans() if each.name == names.SPAN_REQUEST)
    assert f"{span.context.trace_id:032x}" == TRACE.trace_id
    assert f"{span.context.span_id:016x}" == TRACE.span_id
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == TRACE.parent_id


def test_a_trace_that_begins_here_has_no_parent() -> None:
    """Without a caller's span the request's is the root of the trace that was made up for it."""
    begun = TraceContext("1" * 32, "2" * 16, sampled=True)
    span = next(each for each in traced(begun).get_finished_spans() if each.name == names.SPAN_REQUEST)
    assert span.parent is None
    assert f"{span.context.trace_id:032x}" == begun.trace_id


def test_stages_are_children_that_follow_each_other() -> None:
    """Stage spans lie inside the request's, in order, each as long as its stage took."""
    spans = {each.name: each for each in traced(TRACE).get_finished_spans()}
    admission, policy = spans["lockgate.stage.admission"], spans["lockgate.stage.policy"]
    assert admission.end_time == policy.start_time
    assert (policy.end_time or 0) - (policy.start_time or 0) == 200_000
    assert policy.parent is not None
    assert policy.parent.span_id == spans[names.SPAN_REQUEST].context.span_id


def test_nothing_personal_is_an_attribute() -> None:
    """Subject, path and text stay out of spans."""
    for span in traced(TRACE).get_finished_spans():
        said = " ".join(str(value) for value in (span.attributes or {}).values())
        assert "anna" not in said
        assert "/ask" not in said


def test_a_failure_is_an_error_with_its_reason() -> None:
    """A failed outcome marks the span and names the error's type."""
    failed = traced(TRACE, Outcome(Result.FAILED, 504, "upstream_timeout"))
    span = next(each for each in failed.get_finished_spans() if each.name == names.SPAN_REQUEST)
    assert not span.status.is_ok
    assert (span.attributes or {})[names.ERROR_TYPE] == "upstream_timeout"
