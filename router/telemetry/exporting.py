"""OTLP/HTTP export of spans, metrics and logs. Every exporter has its own thread and bounded queue; a collector that is down costs nothing
but its data. The audit trail never goes this way.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from prometheus_client import CollectorRegistry

from router.telemetry import names
from router.telemetry.otlp_metrics import metrics_data
from router.telemetry.tracing import GivenIds

EVERY_S = 15.0


@dataclass(slots=True)
class Exporters:
    """`tracers` makes every span that it is asked for: what is sampled was decided when the request came in."""

    resource: Resource
    tracers: TracerProvider
    loggers: LoggerProvider
    metrics: OTLPMetricExporter
    _handler: logging.Handler | None = None
    _ending: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self, registry: CollectorRegistry) -> None:
        self._handler = LoggingHandler(logging.INFO, self.loggers)
        logging.getLogger("lockgate").addHandler(self._handler)
        self._thread = threading.Thread(target=self._export, args=(registry,), name="otlp-metrics", daemon=True)
        self._thread.start()

    def _export(self, registry: CollectorRegistry) -> None:
        while True:
            last = self._ending.wait(EVERY_S)
            self.metrics.export(metrics_data(registry, self.resource))
            if last:
                return

    def close(self) -> None:
        self._ending.set()
        if self._thread is not None:
            self._thread.join(5.0)
        if self._handler is not None:
            logging.getLogger("lockgate").removeHandler(self._handler)
        for provider in (self.tracers, self.loggers, self.metrics):
            provider.shutdown()


def make_exporters(endpoint: str, instance: str) -> Exporters:
    base = endpoint.rstrip("/")
    resource = Resource({names.SERVICE_NAME: "lockgate", names.SERVICE_VERSION: version("lockgate"), names.SERVICE_INSTANCE: instance})
    tracers = TracerProvider(ALWAYS_ON, resource, id_generator=GivenIds(), shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{base}/v1/traces")))
    loggers = LoggerProvider(resource, shutdown_on_exit=False)
    loggers.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(f"{base}/v1/logs")))
    return Exporters(resource, tracers, loggers, OTLPMetricExporter(f"{base}/v1/metrics"))
