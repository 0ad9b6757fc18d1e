from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from router.decision import Outcome, Result, TraceContext
from router.telemetry import access, names
from router.telemetry.logs import JsonLines, TextLines, current_trace
from router.telemetry.otlp_logs import OtlpHandler
from router.telemetry.setup import start_telemetry
from tests.unit.telemetry.values import ROUTED, TRACE, decision

log = logging.getLogger("lockgate.access")


@pytest.fixture
def inside() -> Iterator[None]:
    """As within a request."""
    token = current_trace.set(TRACE)
    yield
    current_trace.reset(token)


def said(form: logging.Formatter, work: Callable[[], None]) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(form)
    _with(handler, work)
    return stream.getvalue()


def exported(work: Callable[[], None]) -> list[ReadableLogRecord]:
    exporter, provider = InMemoryLogRecordExporter(), LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    _with(OtlpHandler(provider), work)
    return list(exporter.get_finished_logs())


def _with(handler: logging.Handler, work: Callable[[], None]) -> None:
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        work()
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def a_request() -> None:
    access.log_request(decision(), ROUTED)


@pytest.mark.usefixtures("inside")
def test_the_line_of_a_request_for_people() -> None:
    """Method, route, status, result, time, decision and trace, in one line."""
    assert f"POST payments.ask 200 routed 5.0 ms decision=d1 trace_id={TRACE.trace_id}" in said(TextLines(), a_request)


@pytest.mark.usefixtures("inside")
def test_the_line_of_a_request_for_machines() -> None:
    """The same as JSON, each value under its name."""
    line = json.loads(said(JsonLines(), a_request))
    assert (line["trace_id"], line[names.DECISION_ID], line[names.HTTP_STATUS]) == (TRACE.trace_id, "d1", 200)
    assert (line[names.ROUTE], line[names.RESULT], line[names.DURATION_MS]) == ("payments.ask", "routed", 5.0)


def test_nothing_personal_is_in_the_line() -> None:
    """Neither subject nor path nor host."""
    line = said(JsonLines(), a_request)
    assert not [word for word in ("anna", "/ask", "halden.example") if word in line]


def test_a_request_that_ended_with_its_decision_has_a_time() -> None:
    """Where nothing was dispatched the time is that until the decision."""
    denied = Outcome(Result.DENIED, 403, "no_grant")
    assert "403 denied 2.0 ms" in said(TextLines(), lambda: access.log_request(decision(), denied))


def test_there_is_no_line_unless_it_is_wanted() -> None:
    """`telemetry.access_log` is off by default."""

    def serve(*, wanted: bool) -> Callable[[], None]:
        telemetry = start_telemetry(None, "test", lambda _: None, access_log=wanted)
        return lambda: (telemetry.ended(decision(), ROUTED), telemetry.refused("rate_limited", 429))[0]

    assert said(TextLines(), serve(wanted=False)) == ""
    assert "refused 429 rate_limited" in said(TextLines(), serve(wanted=True))


@pytest.mark.usefixtures("inside")
def test_a_log_record_has_its_request_as_trace_context() -> None:
    """Over OTLP the ids are the record's own, not words in it."""
    (record,) = exported(a_request)
    assert f"{record.log_record.trace_id:032x}" == TRACE.trace_id
    assert f"{record.log_record.span_id:016x}" == TRACE.span_id
    assert (record.log_record.attributes or {})[names.DECISION_ID] == "d1"


def test_an_unsampled_request_is_told_as_such() -> None:
    """The record names the trace all the same, with the flag that says that there is no span to look for."""
    token = current_trace.set(TraceContext("1" * 32, "2" * 16, sampled=False))
    (record,) = exported(a_request)
    current_trace.reset(token)
    assert (f"{record.log_record.trace_id:032x}", int(record.log_record.trace_flags or 0)) == ("1" * 32, 0)


def test_outside_of_requests_there_is_no_trace() -> None:
    """A line of the process itself belongs to no trace."""
    (record,) = exported(lambda: log.warning("the disk is full"))
    assert (record.log_record.trace_id, record.log_record.severity_text, record.log_record.body) == (0, "WARN", "the disk is full")


def test_an_exception_is_told_as_one() -> None:
    """Type and stack are attributes after the conventions."""

    def fail() -> None:
        try:
            raise ValueError("broken")
        except ValueError:
            log.exception("it failed")

    (record,) = exported(fail)
    assert (record.log_record.attributes or {})["exception.type"] == "ValueError"
