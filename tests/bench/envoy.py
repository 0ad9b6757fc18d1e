"""What a decision costs behind Envoy: CPU of Lockgate's processes over a do-nothing ext_proc server of the same gRPC stack, and the latency
that it adds at half of what it can do. Envoy is the same for both."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from tests.bench.load import Make, closed, opened
from tests.bench.processes import BenchError, Tree, answers, free_ports, process_cpu_s, running
from tests.bench.report import Figure, Report, median, percentile, spread
from tests.bench.workspace import Workspace, lockgate, make_workspace
from tests.e2e.envoy import HTTP, binary, cluster, processor, routes

ADDED_US, P99_MS, WORKERS = 500.0, 12.0, 1.1
CONCURRENCIES = (1, 16, 64)


def measure(report: Report, folder: Path, origin: str, repetitions: int, count: int, seconds: float) -> None:
    workspace = _workspace(folder / "envoy", origin)
    kinds = {"GET by rule": workspace.lookup, "POST cached": workspace.cached}
    with ExitStack() as stack:
        (port,) = free_ports(1)
        bare = stack.enter_context(running(Tree("bare", ["-m", "tests.bench.bare_processor", str(port)], folder / "bare.log")))
        _listening(port, bare)
        ours = stack.enter_context(lockgate(workspace))
        before_bare = stack.enter_context(_envoy(folder / "envoy-bare", origin, [port]))
        before_ours = stack.enter_context(_envoy(folder / "envoy-ours", origin, [workspace.envoy], log=True))
        for make in kinds.values():
            for each in (before_bare, before_ours):
                closed(each, make, count, 16)
        figures = [
            _cost(f"{name}, {many} at once", make, (bare, before_bare), (ours, before_ours), repetitions, count, many)
            for name, make in kinds.items()
            for many in CONCURRENCIES
        ]
        report.section("Behind Envoy: added CPU a decision, grpc.aio on uvloop", figures)
        report.section(
            "Behind Envoy: added latency at half of saturation", _latency(workspace, before_bare, before_ours, repetitions, seconds)
        )


def two_workers(report: Report, folder: Path, origin: str, repetitions: int, count: int) -> None:
    """One worker and two behind one Envoy, with twice the callers for two."""
    costs: dict[int, list[float]] = {1: [], 2: []}
    spaces = {many: _workspace(folder / f"envoy-workers-{many}", origin) for many in costs}
    for _ in range(repetitions):
        for many, workspace in spaces.items():
            ports = [workspace.envoy + each for each in range(many)]
            with lockgate(workspace, many) as tree, _envoy(folder / f"envoy-before-{many}", origin, ports, log=True) as before:
                closed(before, workspace.lookup, count // 4, 16 * many)
                began = tree.cpu_s()
                closed(before, workspace.lookup, count, 16 * many)
                costs[many].append((tree.cpu_s() - began) / count * 1e6)
    ratios = [two / one for one, two in zip(costs[1], costs[2], strict=True)]
    note = f"{median(costs[2]):.0f} µs over {median(costs[1]):.0f} µs"
    name = "CPU a decision, two workers and 32 callers over one and 16"
    report.section("Two workers behind Envoy", [Figure(name, median(ratios), "×", WORKERS, spread(ratios), note)])


def _cost(name: str, make: Make, bare: tuple[Tree, int], ours: tuple[Tree, int], repetitions: int, count: int, many: int) -> Figure:
    theirs, mine, workers = [], [], []
    for _ in range(repetitions):
        before = bare[0].cpu_s()
        closed(bare[1], make, count, many)
        theirs.append((bare[0].cpu_s() - before) / count * 1e6)
        worker = ours[0].workers()[0].pid
        before, before_worker = ours[0].cpu_s(), process_cpu_s(worker)
        closed(ours[1], make, count, many)
        mine.append((ours[0].cpu_s() - before) / count * 1e6)
        workers.append((process_cpu_s(worker) - before_worker) / count * 1e6)
    added = [one - other for one, other in zip(mine, theirs, strict=True)]
    note = f"{median(mine):.0f} µs (worker {median(workers):.0f}) over {median(theirs):.0f} µs = {1e6 / median(theirs):,.0f}/CPU-s"
    return Figure(name, median(added), "µs", ADDED_US, spread(added), note)


def _latency(workspace: Workspace, bare: int, ours: int, repetitions: int, seconds: float) -> list[Figure]:
    saturation = closed(ours, workspace.cached, 1500, 64)
    rate = saturation / 2
    count = int(rate * seconds)
    added: dict[float, list[float]] = {0.5: [], 0.99: []}
    for turn in range(repetitions):
        theirs = opened(bare, workspace.cached, rate, count, turn, 0)
        mine = opened(ours, workspace.cached, rate, count, turn, 0)
        for at, found in added.items():
            found.append((percentile(mine, at) - percentile(theirs, at)) * 1000)
    note = f"{rate:,.0f}/s, half of {saturation:,.0f}/s"
    return [
        Figure("p50", median(added[0.5]), "ms", None, spread(added[0.5]), note),
        Figure("p99", median(added[0.99]), "ms", P99_MS, spread(added[0.99]), note),
    ]


def _workspace(folder: Path, origin: str) -> Any:
    made = make_workspace(folder, origin)
    (port, _) = free_ports(2)
    written = yaml.safe_load(made.config.read_text())
    made.config.write_text(yaml.safe_dump(written | {"envoy": {"listen": f"127.0.0.1:{port}", "notice": "0ms"}}))
    return replace(made, envoy=port)


@contextlib.contextmanager
def _envoy(folder: Path, origin: str, ports: list[int], *, log: bool = False) -> Iterator[int]:
    """The port of an Envoy that asks whoever serves there, and sends everything to the do-nothing service."""
    folder.mkdir(exist_ok=True)
    admin, port = free_ports(2)
    upstream = int(origin.rpartition(":")[2])
    loggers = [
        {
            "name": "envoy.access_loggers.http_grpc",
            "typed_config": {
                "@type": f"{HTTP}.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
                "common_config": {
                    "log_name": "lockgate",
                    "transport_api_version": "V3",
                    "grpc_service": {"envoy_grpc": {"cluster_name": "lockgate"}},
                },
            },
        }
    ]
    manager = {
        "@type": f"{HTTP}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "use_remote_address": True,
        "access_log": loggers if log else [],
        "http_filters": [
            processor(),
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{HTTP}.filters.http.router.v3.Router"}},
        ],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": _any()}]},
    }
    static = {
        "listeners": [
            {
                "name": "in",
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
                "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}],
            }
        ],
        "clusters": [cluster("lockgate", ports, http2=True, calls=100, lb_policy="LEAST_REQUEST"), cluster("service", [upstream])],
    }
    written = {"admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin}}}, "static_resources": static}
    path = folder / "envoy.yaml"
    path.write_text(yaml.safe_dump(written))
    with (folder / "envoy.log").open("ab") as output:
        process = subprocess.Popen(
            [str(binary()), "-c", str(path), "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "error"],
            stdout=output,
            stderr=output,
        )
    try:
        while not answers(f"http://127.0.0.1:{admin}/ready"):
            if process.poll() is not None:
                raise BenchError(f"Envoy did not come up: {(folder / 'envoy.log').read_text()[-2000:]}")
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _any() -> list[Any]:
    """Whatever route was chosen."""
    nowhere = routes({})
    chosen = {
        "match": {"prefix": "/", "headers": [{"name": "x-lockgate-route", "present_match": True}]},
        "route": {"cluster": "service", "timeout": "0s"},
    }
    return [chosen, *nowhere]


def _listening(port: int, tree: Tree) -> None:
    for _ in range(500):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise BenchError(f"{tree.name} did not come up: {tree.log.read_text()[-2000:]}")
