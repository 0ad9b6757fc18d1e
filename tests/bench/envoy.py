"""What a decision costs behind Envoy: CPU of Lockgate's processes over a do-nothing ext_proc server on the same transport, on each of the
two, and the latency that it adds at half of what it can do. Envoy is the same for all."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from tests.bench.load import Make, closed, opened
from tests.bench.processes import BenchError, Tree, answers, free_ports, process_cpu_s, running
from tests.bench.report import Figure, Report, median, percentile, spread
from tests.bench.workspace import lockgate, make_workspace
from tests.e2e.envoy import HTTP, binary, cluster, processor, routes

ADDED_US, P99_MS, WORKERS = 500.0, 12.0, 1.1
CONCURRENCIES = (1, 16, 64)
TRANSPORTS = {"grpc": "grpc.aio", "zttp": "zttp"}


def measure(report: Report, folder: Path, origin: str, repetitions: int, count: int, seconds: float) -> None:
    with ExitStack() as stack:
        sides = {name: _side(stack, folder, origin, name) for name in TRANSPORTS}
        for side in sides.values():
            for make in side.kinds.values():
                closed(side.before_bare, make, count, 16)
                closed(side.before_ours, make, count, 16)
        costs = _costs(sides, repetitions, count)
        for name, title in TRANSPORTS.items():
            report.section(f"Behind Envoy: added CPU a decision, {title} on uvloop", [_added(at, each) for at, each in costs[name].items()])
        report.section("Behind Envoy: CPU a decision, zttp over grpc.aio", _compared(costs))
        for name, title in TRANSPORTS.items():
            report.section(f"Behind Envoy: added latency at half of saturation, {title}", _latency(sides[name], repetitions, seconds))


@dataclass(frozen=True, slots=True)
class Side:
    """One transport: a server that does nothing, ours, and an Envoy before each."""

    bare: Tree
    ours: Tree
    before_bare: int
    before_ours: int
    kinds: Mapping[str, Make]


@dataclass(frozen=True, slots=True)
class Cost:
    """µs a request, of every repetition: of the server that does nothing, of all of Lockgate, of its worker."""

    bare: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    worker: list[float] = field(default_factory=list)


def _side(stack: ExitStack, folder: Path, origin: str, transport: str) -> Side:
    workspace = _workspace(folder / f"envoy-{transport}", origin, transport)
    (port,) = free_ports(1)
    log = folder / f"bare-{transport}.log"
    bare = stack.enter_context(running(Tree("bare", ["-m", "tests.bench.bare_processor", str(port), transport], log)))
    _listening(port, bare)
    ours = stack.enter_context(lockgate(workspace))
    before_bare = stack.enter_context(_envoy(folder / f"envoy-bare-{transport}", origin, [port]))
    before_ours = stack.enter_context(_envoy(folder / f"envoy-ours-{transport}", origin, [workspace.envoy], log=True))
    return Side(bare, ours, before_bare, before_ours, {"GET by rule": workspace.lookup, "POST cached": workspace.cached})


def _costs(sides: Mapping[str, Side], repetitions: int, count: int) -> dict[str, dict[str, Cost]]:
    """Both transports in turn, so that what else the machine does falls on both."""
    found: dict[str, dict[str, Cost]] = {name: {} for name in sides}
    for _ in range(repetitions):
        for kind in ("GET by rule", "POST cached"):
            for many in CONCURRENCIES:
                for name, side in sides.items():
                    _cost(found[name].setdefault(f"{kind}, {many} at once", Cost()), side, side.kinds[kind], count, many)
    return found


def _cost(cost: Cost, side: Side, make: Make, count: int, many: int) -> None:
    before = side.bare.cpu_s()
    closed(side.before_bare, make, count, many)
    cost.bare.append((side.bare.cpu_s() - before) / count * 1e6)
    worker = side.ours.workers()[0].pid
    before, before_worker = side.ours.cpu_s(), process_cpu_s(worker)
    closed(side.before_ours, make, count, many)
    cost.ours.append((side.ours.cpu_s() - before) / count * 1e6)
    cost.worker.append((process_cpu_s(worker) - before_worker) / count * 1e6)


def _added(name: str, cost: Cost) -> Figure:
    added = [one - other for one, other in zip(cost.ours, cost.bare, strict=True)]
    bare = median(cost.bare)
    note = f"{median(cost.ours):.0f} µs (worker {median(cost.worker):.0f}) over {bare:.0f} µs = {1e6 / bare:,.0f}/CPU-s"
    return Figure(name, median(added), "µs", ADDED_US, spread(added), note)


def _compared(costs: Mapping[str, Mapping[str, Cost]]) -> list[Figure]:
    figures = []
    for name, slow in costs["grpc"].items():
        fast = costs["zttp"][name]
        ratios = [one / other for one, other in zip(fast.ours, slow.ours, strict=True)]
        over = [one - other for one, other in zip(fast.ours, slow.bare, strict=True)]
        note = f"{median(fast.ours):.0f} µs over {median(slow.ours):.0f} µs; {median(over):.0f} µs more than grpc.aio that does nothing"
        figures.append(Figure(name, median(ratios), "×", None, spread(ratios), note))
    return figures


def two_workers(report: Report, folder: Path, origin: str, repetitions: int, count: int) -> None:
    """One worker and two behind one Envoy, with twice the callers for two."""
    costs: dict[tuple[str, int], list[float]] = {(transport, many): [] for transport in TRANSPORTS for many in (1, 2)}
    spaces = {(name, many): _workspace(folder / f"envoy-workers-{name}-{many}", origin, name) for name, many in costs}
    for _ in range(repetitions):
        for (name, many), workspace in spaces.items():
            ports = [workspace.envoy + each for each in range(many)]
            with lockgate(workspace, many) as tree, _envoy(folder / f"envoy-before-{name}-{many}", origin, ports, log=True) as before:
                closed(before, workspace.lookup, count // 4, 16 * many)
                began = tree.cpu_s()
                closed(before, workspace.lookup, count, 16 * many)
                costs[name, many].append((tree.cpu_s() - began) / count * 1e6)
    report.section(
        "Behind Envoy: CPU a decision, two workers and 32 callers over one and 16",
        [_doubled(title, costs[name, 1], costs[name, 2]) for name, title in TRANSPORTS.items()],
    )


def _doubled(name: str, ones: list[float], twos: list[float]) -> Figure:
    ratios = [two / one for one, two in zip(ones, twos, strict=True)]
    return Figure(name, median(ratios), "×", WORKERS, spread(ratios), f"{median(twos):.0f} µs over {median(ones):.0f} µs")


def _latency(side: Side, repetitions: int, seconds: float) -> list[Figure]:
    make, bare, ours = side.kinds["POST cached"], side.before_bare, side.before_ours
    saturation = closed(ours, make, 1500, 64)
    rate = saturation / 2
    count = int(rate * seconds)
    added: dict[float, list[float]] = {0.5: [], 0.99: []}
    for turn in range(repetitions):
        theirs = opened(bare, make, rate, count, turn, 0)
        mine = opened(ours, make, rate, count, turn, 0)
        for at, found in added.items():
            found.append((percentile(mine, at) - percentile(theirs, at)) * 1000)
    note = f"{rate:,.0f}/s, half of {saturation:,.0f}/s"
    return [
        Figure("p50", median(added[0.5]), "ms", None, spread(added[0.5]), note),
        Figure("p99", median(added[0.99]), "ms", P99_MS, spread(added[0.99]), note),
    ]


def _workspace(folder: Path, origin: str, transport: str = "grpc") -> Any:
    made = make_workspace(folder, origin)
    (port, _) = free_ports(2)
    written = yaml.safe_load(made.config.read_text())
    made.config.write_text(yaml.safe_dump(written | {"envoy": {"listen": f"127.0.0.1:{port}", "notice": "0ms", "server": transport}}))
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
        "clusters": [cluster("lockgate", ports, http2=True, streams=100, lb_policy="LEAST_REQUEST"), cluster("service", [upstream])],
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
