"""Whether telemetry arrives: said once when it stops arriving and once when it does again, in place of the SDK's line for every try."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from enum import Enum

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

log = logging.getLogger("lockgate.telemetry")
TIMEOUT_S = 5.0  # of one export with all its tries


class FirstWord(logging.Handler):
    """Takes the SDK's own log lines in: the first of a failing try says what is wrong, those after it only that it was given up."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said = ""

    def emit(self, record: logging.LogRecord) -> None:
        self._said = self._said or record.getMessage()

    def take(self) -> str:
        said, self._said = self._said, ""
        return said or "no reason given"


FIRST_WORD = FirstWord()


def quiet_sdk() -> None:
    sdk = logging.getLogger("opentelemetry")
    sdk.propagate = False
    sdk.handlers[:] = [FIRST_WORD]


class Reach:
    """Of one kind of telemetry: `spans`, `metrics` or `logs`."""

    def __init__(self, kind: str, endpoint: str) -> None:
        self._kind = kind
        self._endpoint = endpoint
        self.arrives = True

    def note(self, result: Enum) -> None:
        arrives = result.name == "SUCCESS"
        reason = "" if arrives else FIRST_WORD.take()
        if self.arrives and not arrives:
            log.warning("%s do not reach %s and are dropped meanwhile: %s", self._kind, self._endpoint, reason)
        elif arrives and not self.arrives:
            log.warning("%s reach %s again", self._kind, self._endpoint)
        self.arrives = arrives


class Spans(OTLPSpanExporter):
    def __init__(self, base: str) -> None:
        super().__init__(f"{base}/v1/traces", timeout=TIMEOUT_S)
        self.reach = Reach("spans", base)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = super().export(spans)
        self.reach.note(result)
        return result


class Logs(OTLPLogExporter):
    def __init__(self, base: str) -> None:
        super().__init__(f"{base}/v1/logs", timeout=TIMEOUT_S)
        self.reach = Reach("logs", base)

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        result = super().export(batch)
        self.reach.note(result)
        return result


class Numbers(OTLPMetricExporter):
    def __init__(self, base: str) -> None:
        super().__init__(f"{base}/v1/metrics", timeout=TIMEOUT_S)
        self.reach = Reach("metrics", base)

    def export(self, metrics_data: MetricsData, timeout_millis: float | None = None, **kwargs: object) -> MetricExportResult:
        result = super().export(metrics_data, timeout_millis, **kwargs)
        self.reach.note(result)
        return result
