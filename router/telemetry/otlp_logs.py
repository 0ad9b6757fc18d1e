"""Log records of this process as OTLP log records, each with the trace that it was made in. Whoever logs nothing pays nothing for it."""

from __future__ import annotations

import logging

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from router.decision import TraceContext
from router.telemetry import names
from router.telemetry.logs import current_trace, fields_of

SEVERITIES = {
    logging.DEBUG: SeverityNumber.DEBUG,
    logging.INFO: SeverityNumber.INFO,
    logging.WARNING: SeverityNumber.WARN,
    logging.ERROR: SeverityNumber.ERROR,
    logging.CRITICAL: SeverityNumber.FATAL,
}


class OtlpHandler(logging.Handler):
    def __init__(self, provider: LoggerProvider) -> None:
        super().__init__(logging.INFO)
        self._provider = provider

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._provider.get_logger(record.name, schema_url=names.SCHEMA_URL).emit(_translated(record))
        except Exception:  # noqa: BLE001  # a line that cannot be told must not fail the request that it is about: as in every handler
            self.handleError(record)


def _translated(record: logging.LogRecord) -> LogRecord:
    error = record.exc_info[1] if record.exc_info else None
    severity = SEVERITIES.get(record.levelno, SeverityNumber.UNSPECIFIED)
    return LogRecord(
        timestamp=int(record.created * 1e9),
        context=_context(current_trace.get()),
        severity_text=severity.name,
        severity_number=severity,
        body=record.getMessage(),
        attributes=dict(fields_of(record)),
        exception=error,
    )


def _context(current: TraceContext | None) -> Context:
    if current is None:
        return Context()
    flags = TraceFlags(TraceFlags.SAMPLED if current.sampled else TraceFlags.DEFAULT)
    span = SpanContext(int(current.trace_id, 16), int(current.span_id, 16), is_remote=False, trace_flags=flags)
    return trace.set_span_in_context(NonRecordingSpan(span), Context())
