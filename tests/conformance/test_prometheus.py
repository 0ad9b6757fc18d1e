"""The page that Prometheus scrapes, from a running Lockgate with two workers and a witness, read by the strict OpenMetrics parser."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_strictly
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry

from examples.halden.demo.company import free_ports
from router.audit.keys.files import ensure_signing_key
from router.audit.tree.checkpoint import NoteSigner
from router.telemetry.names import METRICS
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, prepared
from tests.e2e.yard import load, save
from tests.faults.witness_processes import witness
from tests.helm.monitored import asked_series


class Page(Collector):
    def __init__(self, text: str) -> None:
        self.families = list(text_string_to_metric_families(text))

    def collect(self) -> list[Metric]:
        return self.families


@pytest.fixture(scope="module")
def lockgate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    folder = tmp_path_factory.mktemp("prometheus")
    witnesses = {"witnesses": {"policy": "witnesses.policy"}}
    learning = {"sampling": {"random": 1.0}, "watch": {"accuracy": 0.9}}
    with ExitStack() as stack:
        running = stack.enter_context(prepared(folder, "--workers", "2", audit=witnesses, learning=learning))
        key = NoteSigner("yard.example/ledger", ensure_signing_key(running.state / "keys" / "ledger.key")).verifier
        other = stack.enter_context(witness(folder / "witness", "w.example", free_ports(1)[0], [key]))
        other.start()
        (folder / "witnesses.policy").write_text(f"{other.line}\nquorum w.example\n")
        running.start()
        running.ask("ann", "GET", "/items/7")
        running.ask("ann", "GET", "/lonely/x")
        running.ask("ann", "GET", "/secret/x")
        running.ask(None, "GET", "/items/7")
        running.decide("checkout", {"method": "GET", "path": "/items/7"})
        yield running


def page(lockgate: Lockgate) -> str:
    return lockgate.control("GET", "/metrics").body.decode()


@pytest.fixture(scope="module")
def text(lockgate: Lockgate) -> str:
    def complete() -> str:
        now = page(lockgate)
        return now if all(each in now for each in ('result="decided"', 'result="failed"', "lockgate_learning_samples")) else ""

    return until(complete, "every kind of request was counted")


def test_the_strict_parser_takes_it(text: str) -> None:
    """Types, suffixes, bucket order, `+Inf`, counts and duplicate series are as the OpenMetrics standard wants them."""
    registry = CollectorRegistry()
    registry.register(Page(text))
    assert {family.type for family in read_strictly(generate_latest(registry).decode())} == {"counter", "gauge", "histogram"}


def test_a_family_stands_once_with_its_help(text: str) -> None:
    """The pages of several workers are one: one TYPE and one HELP for every name, none of them empty."""
    for word in ("# TYPE ", "# HELP "):
        lines = [line.removeprefix(word).split(" ", 1) for line in text.splitlines() if line.startswith(word)]
        assert max(Counter(name for name, _ in lines).values()) == 1
        assert all(about.strip() for _, about in lines)
    assert len(list(text_string_to_metric_families(text))) == text.count("# HELP ")
    assert 'worker="0"' in text
    assert 'worker="1"' in text


AMONG_NODES = {"lockgate_nodes", "lockgate_nodes_skew", "lockgate_envoy_reports"}
"""Of a node that knows others: tests/e2e/test_shared_nodes.py, test_envoy_nodes.py."""


def test_every_documented_metric_is_there(text: str) -> None:
    """What the table of names promises is served, under its name with underscores and its unit, and nothing else is."""
    served = {family.name for family in text_string_to_metric_families(text)}
    promised = {name.replace(".", "_") for name in METRICS} - AMONG_NODES
    assert {name.removesuffix("_seconds").removesuffix("_days").removesuffix("_bytes") for name in served} == promised


def test_alerts_and_dashboard_ask_for_what_is_served(text: str) -> None:
    """Every series that the chart's rules and panels name is of a family on the page, of its kind."""
    parts = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
    served = {f"{family.name}{part}" for family in text_string_to_metric_families(text) for part in parts[family.type]}
    assert asked_series() - served == set()


def test_callers_cannot_add_series(lockgate: Lockgate) -> None:
    """Paths, methods, hosts and credentials that somebody makes up raise counts and never the number of series."""

    def probe(number: int) -> None:
        lockgate.ask("ann", "GET", f"/items/{number}?q={number}", host=f"h{number}.example")
        lockgate.ask("ann", f"METHOD{number}", f"/made/up/{number}")
        lockgate.ask(None, "GET", f"/{number}", authorization=f"Bearer wrong-{number}")

    def series() -> set[str]:
        return {line.rpartition(" ")[0] for line in page(lockgate).splitlines() if 'worker="' in line}

    def by_any_worker() -> set[str]:
        return {name.replace('worker="1"', 'worker="0"') for name in series()}

    for number in range(10):
        probe(number)
    until(lambda: page(lockgate).count('reason="credential_'), "refusals were counted")
    before = by_any_worker()
    for number in range(10, 40):
        probe(number)
    assert by_any_worker() == before


def test_the_page_can_be_switched_off(lockgate: Lockgate) -> None:
    """Without `telemetry.prometheus` there is no page, and it is said why; the setting is taken up by a reload."""
    save(lockgate.yard.config, load(lockgate.yard.config) | {"telemetry": {"prometheus": False}})
    until(lambda: lockgate.control("GET", "/metrics").status == 404, "the page was gone")
    assert lockgate.control("GET", "/metrics").code == "metrics_off"
