"""A real OpenTelemetry collector (rotel) that takes Lockgate's telemetry and passes it on, as OTLP again, to where a test can read it."""

from __future__ import annotations

import gzip
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from examples.halden.demo.company import free_ports
from tests.e2e.processes import Process, until
from tests.e2e.running import listens

BUILT_FOR = sys.platform == "linux" and sys.version_info < (3, 14)  # as pyproject.toml has it
MESSAGES: dict[str, Any] = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
}


@dataclass(slots=True)
class Arrived:
    """What the collector passed on, in the order of arrival; resources by their instance."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    metrics: list[tuple[str, Metric]] = field(default_factory=list)
    logs: list[LogRecord] = field(default_factory=list)
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    schemas: set[str] = field(default_factory=set)

    def take(self, message: Any) -> None:
        for each in getattr(message, "resource_spans", ()):
            self._resource(each)
            self.spans += [span for scope in each.scope_spans for span in scope.spans]
        for each in getattr(message, "resource_metrics", ()):
            instance = self._resource(each)
            self.metrics += [(instance, metric) for scope in each.scope_metrics for metric in scope.metrics]
        for each in getattr(message, "resource_logs", ()):
            self._resource(each)
            self.logs += [record for scope in each.scope_logs for record in scope.log_records]

    def _resource(self, group: Any) -> str:
        told = attributes(group.resource.attributes)
        self.schemas.add(group.schema_url)
        self.resources[told["service.instance.id"]] = told
        return str(told["service.instance.id"])

    def metric(self, name: str, instance: str = "worker-0") -> Metric:
        """As it was last told."""
        return [metric for whose, metric in self.metrics if (whose, metric.name) == (instance, name)][-1]


def attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair) for pair in pairs}


def _value(pair: KeyValue) -> Any:
    kind = pair.value.WhichOneof("value")
    return getattr(pair.value, kind) if kind else None


@contextmanager
def collector(folder: Path) -> Iterator[Arrived]:
    """Ready when it is given; `url` is what `telemetry.otlp` should say. Where no collector is built for, that is the receiver."""
    with receiver() as (arrived, port):
        if not BUILT_FOR:
            arrived.url = f"http://127.0.0.1:{port}"
            yield arrived
            return
        http, grpc = free_ports(2)
        arrived.url = f"http://127.0.0.1:{http}"
        process = Process(_command(http, grpc, port, folder), folder / "rotel.out")
        process.start()
        try:
            until(lambda: listens(http), f"the collector listened; it said:\n{process.said}")
            yield arrived
        finally:
            process.stop()


def _command(http: int, grpc: int, to: int, folder: Path) -> list[str]:
    found = find_spec("rotel")  # not imported: the package would start an agent of its own accord where the environment says so
    assert found is not None, "the collector is not installed: run `make test`, which installs the test dependencies"
    assert found.submodule_search_locations is not None
    options = {
        "otlp-http-endpoint": f"127.0.0.1:{http}",
        "otlp-grpc-endpoint": f"127.0.0.1:{grpc}",
        "exporter": "otlp",
        "otlp-exporter-protocol": "http",
        "otlp-exporter-endpoint": f"http://127.0.0.1:{to}",
        "batch-timeout": "50ms",
        "pid-file": str(folder / "rotel.pid"),
        "log-file": str(folder / "rotel.log"),
    }
    agent = Path(found.submodule_search_locations[0]) / "rotel-agent"
    return [str(agent), "start", *(f"--{name}={value}" for name, value in options.items())]


@contextmanager
def receiver() -> Iterator[tuple[Arrived, int]]:
    arrived = Arrived()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = MESSAGES[self.path]()
            message.ParseFromString(_body(self))
            arrived.take(message)
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # the parent's name
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield arrived, server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _body(request: BaseHTTPRequestHandler) -> bytes:
    data = request.rfile.read(int(request.headers["content-length"]))
    return gzip.decompress(data) if request.headers.get("content-encoding") == "gzip" else data
