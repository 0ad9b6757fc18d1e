"""What a real collector makes of Lockgate's traces, metrics and logs, and what a collector that is down or hangs makes of Lockgate."""

from __future__ import annotations

import re
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from examples.halden.demo.company import HERE, LISTENERS, SERVICES, Company, free_ports
from examples.halden.demo.people import make_credentials
from tests.conformance.collector import Arrived, attributes, collector
from tests.e2e.processes import ROOT, until
from tests.e2e.running import company
from tests.e2e.wire import ask

TRAINED = ROOT / ".cache/halden-models"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7"


@dataclass(frozen=True, slots=True)
class Told:
    """After Lockgate has ended: what arrived, and the answers that its callers had."""

    arrived: Arrived
    decisions: dict[str, str]

    def request(self, name: str) -> Any:
        return self._span("lockgate.request", name)

    def _span(self, kind: str, name: str) -> Any:
        (found,) = [
            each
            for each in self.arrived.spans
            if each.name == kind and attributes(each.attributes).get("lockgate.decision.id") == self.decisions[name]
        ]
        return found

    def line(self, name: str) -> Any:
        """The access log's line of a request."""
        (found,) = [each for each in self.arrived.logs if attributes(each.attributes).get("lockgate.decision.id") == self.decisions[name]]
        return found


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("otlp")
    names = (*LISTENERS, *SERVICES)
    halden = Company(folder, dict(zip(names, free_ports(len(names)), strict=True)))
    credentials = make_credentials(folder / "state", folder / "jwks.json")
    TRAINED.mkdir(parents=True, exist_ok=True)  # content-addressed, shared with the demonstration: training takes many seconds
    (folder / "state/models").symlink_to(TRAINED)
    with collector(folder) as arrived:
        try:
            halden.start_services()
            halden.start("lockgate", [sys.executable, "-m", "lockgate", "serve", "--config", str(_workspace(folder, arrived.url))])
            halden.wait("lockgate", halden.url("control") + "/readyz")
            decisions = _requests(halden.ports, credentials)
        finally:
            halden.stop()
        until(lambda: arrived.logs and arrived.spans and len({instance for instance, _ in arrived.metrics}) > 1, "telemetry arrived")
        yield Told(arrived, decisions)


def _workspace(folder: Path, otlp: str) -> Path:
    shutil.copytree(HERE, folder / "examples/halden")
    shutil.copytree(HERE.parents[1] / "policies", folder / "policies", ignore=shutil.ignore_patterns("control", "learning"))
    path = folder / "examples/halden/lockgate.yaml"
    document = yaml.safe_load(path.read_text()) | {"telemetry": {"otlp": otlp, "sample": 1, "access_log": True}}
    document["gateway"]["trusted_proxies"] = ["127.0.0.0/8"]  # whose word on sampling counts
    path.write_text(yaml.safe_dump(document))
    return path


def _requests(ports: dict[str, int], credentials: dict[str, str]) -> dict[str, str]:
    anna, lee = {"authorization": credentials["anna.lind"]}, {"authorization": credentials["lee.marsh"]}
    gateway = ports["gateway"]
    asked = {
        "rule": ask(gateway, "GET", "/payments/4712", traceparent=f"00-{TRACE}-{PARENT}-01", **anna),
        "own": ask(gateway, "POST", "/ask", None, {"message": "where is payment 4712?"}, **anna),
        "unsampled": ask(gateway, "GET", "/payments/4712", traceparent=f"00-{'2' * 32}-{PARENT}-00", **anna),
        "denied": ask(gateway, "POST", "/ask", None, "change the bank details of supplier Baltic Lines to a new account", **lee),
        "retried": ask(gateway, "GET", "/payments/flaky/otlp", **anna),
    }
    assert [answer.status for answer in asked.values()] == [200, 200, 200, 403, 200]
    return {name: answer.decision for name, answer in asked.items()}


def test_a_request_is_one_span_below_its_callers(told: Told) -> None:
    """The span is part of the caller's trace, and the caller's span is its parent."""
    span = told.request("rule")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert span.kind == span.SPAN_KIND_SERVER
    assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 60e9


def test_stages_are_children(told: Told) -> None:
    """Every stage of the pipeline is a span below the request's, and lies within it."""
    request = told.request("own")
    stages = [each for each in told.arrived.spans if each.parent_span_id == request.span_id]
    assert {"admission", "signals", "classification", "risk", "policy", "route"} <= {
        each.name.removeprefix("lockgate.stage.") for each in stages
    }
    assert all(each.trace_id == request.trace_id for each in stages)
    assert max(each.end_time_unix_nano for each in stages) <= request.end_time_unix_nano


def test_what_the_caller_does_not_sample_is_no_span(told: Told) -> None:
    """A trusted caller's `sampled` flag decides about the trace, and about nothing else: its log line is there."""
    assert told.line("unsampled").trace_id.hex() == "2" * 32
    assert not [each for each in told.arrived.spans if each.trace_id.hex() == "2" * 32]


def test_the_span_says_what_was_decided(told: Told) -> None:
    """Classification, verdict and the configuration that judged stand on the span under the conventions' names."""
    span = attributes(told.request("own").attributes)
    assert (span["lockgate.intent"], span["lockgate.verdict.effect"]) == ("payment_status", "allow")
    assert (span["http.request.method"], span["http.response.status_code"]) == ("POST", 200)
    assert (span["feature_flag.key"], len(span["feature_flag.result.variant"])) == ("lockgate.config", 64)
    assert (span["gen_ai.operation.name"], span["gen_ai.provider.name"]) == ("classify", "lockgate")
    assert attributes(told.request("retried").attributes)["http.request.resend_count"] == 1
    assert attributes(told.request("denied").attributes)["lockgate.outcome.result"] == "denied"


def test_metrics_have_dotted_names_and_buckets(told: Told) -> None:
    """Counters are cumulative sums, latencies and confidence are histograms, each with its unit."""
    requests = told.arrived.metric("lockgate.requests").sum
    assert requests.is_monotonic
    assert sum(point.as_double for point in requests.data_points) == len(told.decisions)
    duration = told.arrived.metric("lockgate.request.duration")
    assert (duration.unit, sum(point.count for point in duration.histogram.data_points)) == ("s", len(told.decisions))
    for name in ("lockgate.stage.duration", "lockgate.upstream.duration", "lockgate.confidence", "lockgate.audit.duration"):
        for point in told.arrived.metric(name).histogram.data_points:
            assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
            assert sum(point.bucket_counts) == point.count > 0


def test_the_control_process_tells_of_the_whole(told: Told) -> None:
    """The ledger's figures come from the process that owns it."""
    records = told.arrived.metric("lockgate.audit.records", "control").gauge.data_points
    assert records[0].as_int >= 2 * len(told.decisions)
    assert told.arrived.metric("lockgate.config.age", "control").unit == "s"
    assert set(told.arrived.resources) == {"control", "worker-0"}
    assert {each["service.name"] for each in told.arrived.resources.values()} == {"lockgate"}


@pytest.mark.parametrize("name", ["rule", "own", "denied", "retried"])
def test_a_log_line_belongs_to_its_trace(told: Told, name: str) -> None:
    """What is logged within a request has the ids of its span as OTLP's own trace context."""
    line, span = told.line(name), told.request(name)
    assert (line.trace_id, line.span_id) == (span.trace_id, span.span_id)
    assert line.severity_text == "INFO"


def test_nothing_personal_leaves(told: Told) -> None:
    """Neither names nor words of a request are in what a collector gets."""
    everything = str([told.arrived.spans, told.arrived.metrics, told.arrived.logs])
    for word in ("anna.lind", "lee.marsh", "4712", "Baltic", "127.0.0.1:" + str(told.arrived.url.rpartition(":")[2])):
        assert not re.search(rf"(?<!\d){re.escape(word)}(?!\d)", everything)  # digits within a longer number are a time's


@pytest.fixture
def silent() -> Iterator[str]:
    """A collector that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_collector_that_is_down_costs_only_its_data(tmp_path: Path) -> None:
    """Requests are answered and recorded, it is said once per kind of telemetry, and the end is quiet and prompt."""
    (port,) = free_ports(1)
    _without_collector(tmp_path, f"http://127.0.0.1:{port}")


def test_a_collector_that_hangs_costs_only_its_data(tmp_path: Path, silent: str) -> None:
    """The same where connections are taken and nothing is ever answered: five seconds is all that the end waits."""
    _without_collector(tmp_path, silent)


def _without_collector(folder: Path, otlp: str) -> None:
    with company(folder, telemetry={"otlp": otlp, "sample": 1, "access_log": True}) as lockgate:
        answers = [lockgate.ask("ann", "GET", f"/echo/{number}") for number in range(20)]
        assert {answer.status for answer in answers} == {200}
        assert all(lockgate.outcome(answer.decision)["result"] == "routed" for answer in answers)
        assert lockgate.process.stop() == 0
        said = lockgate.process.said
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if "lockgate.access" not in line]
    assert len([line for line in lines if "do not reach" in line]) <= 5, said
    assert not [line for line in lines if "opentelemetry" in line.partition(": ")[0]], said
    assert lockgate.verify().returncode == 0
