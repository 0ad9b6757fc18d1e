"""CPU that Lockgate adds to a request, over a do-nothing proxy of the same stack, in interleaved repetitions."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.load import Make, closed
from tests.bench.processes import Tree, bare_proxy, process_cpu_s
from tests.bench.report import Figure, Report, median, spread
from tests.bench.workspace import Workspace, lockgate, make_workspace

TARGET_US = 500.0
CONCURRENCIES = (1, 16, 64)
STACKS = {"pyreqwest": "uvicorn, uvloop, httptools, raw ASGI; pyreqwest", "aiohttp": "uvicorn, uvloop, httptools, raw ASGI; aiohttp"}


@dataclass(slots=True)
class Costs:
    """Microseconds of CPU a request, by repetition."""

    bare: list[float] = field(default_factory=list)
    lockgate: list[float] = field(default_factory=list)
    worker: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)

    @property
    def added(self) -> list[float]:
        return [ours - theirs for ours, theirs in zip(self.lockgate, self.bare, strict=True)]


def measure(report: Report, folder: Path, origin: str, client: str, repetitions: int, count: int) -> None:
    workspace = make_workspace(folder / client, origin, client)
    kinds: Mapping[str, Make] = {"GET by rule": workspace.lookup, "POST cached": workspace.cached}
    with ExitStack() as stack:
        bare, port = stack.enter_context(bare_proxy(folder, client, origin))
        ours = stack.enter_context(lockgate(workspace))
        for make in kinds.values():
            closed(workspace.gateway, make, count // 2, 16)
            closed(port, make, count // 2, 16)
        costs = {(kind, many): Costs() for kind in kinds for many in CONCURRENCIES}
        for _ in range(repetitions):
            for (kind, many), cost in costs.items():
                _once(cost, workspace, ours, bare, port, kinds[kind], count, many)
    report.section(f"Added CPU a request — {STACKS[client]}", [each for key, cost in costs.items() for each in _figures(*key, cost)])


def _once(cost: Costs, workspace: Workspace, ours: Tree, bare: Tree, port: int, make: Make, count: int, many: int) -> None:
    before = bare.cpu_s()
    closed(port, make, count * 2, many)  # it is so much cheaper that it needs more of them
    cost.bare.append((bare.cpu_s() - before) / (count * 2) * 1e6)
    worker = ours.workers()[0].pid
    before, before_worker = ours.cpu_s(), process_cpu_s(worker)
    cost.rate.append(closed(workspace.gateway, make, count, many))
    cost.lockgate.append((ours.cpu_s() - before) / count * 1e6)
    cost.worker.append((process_cpu_s(worker) - before_worker) / count * 1e6)


def _figures(kind: str, many: int, cost: Costs) -> list[Figure]:
    bare, total, worker = median(cost.bare), median(cost.lockgate), median(cost.worker)
    note = f"{total:.0f} µs (worker {worker:.0f}, ledger {total - worker:.0f}) over {bare:.0f} µs = {1e6 / bare:,.0f}/CPU-s; "
    note += f"{total / bare:.1f}×; {median(cost.rate):,.0f}/s"
    name = f"{kind}, {many} at once"
    return [Figure(name, median(cost.added), "µs", TARGET_US, spread(cost.added), note)]
