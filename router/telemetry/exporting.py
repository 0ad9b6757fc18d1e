"""OTLP/HTTP export of spans, metrics and logs. Every exporter has its own thread and bounded queue; a collector that is down costs nothing
but its data. The audit trail never goes this way.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import version

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from router.telemetry import names
from router.telemetry.otlp_logs import OtlpHandler
from router.telemetry.otlp_metrics import metrics_data
from router.telemetry.reach import Logs, Numbers, Spans, quiet_sdk
from router.telemetry.tracing import GivenIds

EVERY_S = 15.0
LAST_S = 3.0  # for what is left when the process ends; what has not gone by then is given up


@dataclass(slots=True)
class Exporters:
    """`tracers` makes every span that it is asked for: what is sampled was decided when the request came in."""

    resource: Resource
    tracers: TracerProvider
    loggers: LoggerProvider
    spans: Spans
    logs: Logs
    metrics: Numbers
    _handler: logging.Handler | None = None
    _ending: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self, registry: CollectorRegistry) -> None:
        self._handler = OtlpHandler(self.loggers)
        logging.getLogger("lockgate").addHandler(self._handler)
        self._thread = _background("otlp-metrics", lambda: self._export(registry))

    def _export(self, registry: CollectorRegistry) -> None:
        while True:
            last = self._ending.wait(EVERY_S)
            self.metrics.export(metrics_data(registry, self.resource))
            if last:
                return

    def close(self) -> None:
        """Sends what is left, for at most LAST_S; a collector that did not answer lately is not waited for."""
        if self._handler is not None:
            logging.getLogger("lockgate").removeHandler(self._handler)
        self._ending.set()
        # The SDK waits up to 30 s each for a try that hangs; these threads are daemons, so that no such try keeps the process.
        ways = (("spans", self.spans, self.tracers.shutdown), ("logs", self.logs, self.loggers.shutdown))
        leaving: list[tuple[Spans | Logs | Numbers, threading.Thread]] = [
            (exporter, _background(f"otlp-{kind}-end", end)) for kind, exporter, end in ways
        ]
        if self._thread is not None:
            leaving.append((self.metrics, self._thread))
        until = time.monotonic() + LAST_S
        for exporter, thread in sorted(leaving, key=lambda each: each[0].reach.arrives):
            if exporter.reach.arrives:
                thread.join(max(0.0, until - time.monotonic()))
            exporter.shutdown()  # ends a wait between two tries


def _background(name: str, work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread


def make_exporters(endpoint: str, instance: str) -> Exporters:
    """The environment's `OTEL_EXPORTER_OTLP_HEADERS` and `OTEL_RESOURCE_ATTRIBUTES` are heeded."""
    base = endpoint.rstrip("/")
    quiet_sdk()
    resource = Resource.create(
        {names.SERVICE_NAME: "lockgate", names.SERVICE_VERSION: version("lockgate"), names.SERVICE_INSTANCE: instance}, names.SCHEMA_URL
    )
    spans, logs = Spans(base), Logs(base)
    tracers = TracerProvider(ALWAYS_ON, resource, id_generator=GivenIds(), shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(spans))
    loggers = LoggerProvider(resource, shutdown_on_exit=False)
    loggers.add_log_record_processor(BatchLogRecordProcessor(logs))
    return Exporters(resource, tracers, loggers, spans, logs, Numbers(base))


class _Figures(Collector):
    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return self._collect()


def export_figures(endpoint: str, instance: str, collect: Callable[[], Iterable[Metric]]) -> Exporters:
    """Exports what `collect` gives, which is called on a thread of the exporter's, and this process's log lines."""
    registry, exporters = CollectorRegistry(), make_exporters(endpoint, instance)
    registry.register(_Figures(collect))
    exporters.start(registry)
    return exporters
