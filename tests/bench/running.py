"""What a whole installation costs: time to be ready, memory, and the price of a second worker."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.bench.load import closed
from tests.bench.processes import ROOT, BenchError, Tree, running
from tests.bench.report import Figure, Report, median, spread
from tests.bench.workspace import Workspace, lockgate, make_workspace

READY_S, MEMORY_MB, WORKERS = 3.0, 300.0, 1.1
MB = 1 << 20


def readiness(report: Report, folder: Path, origin: str, repetitions: int, count: int) -> None:
    workspace = make_workspace(folder / "ready", origin)
    times, memory, control = [], [], []
    with lockgate(workspace):
        pass  # the first start trains the head; from here on it is cached
    for _ in range(repetitions):
        command = ["-m", "lockgate", "serve", "--config", str(workspace.config)]
        with running(Tree("lockgate", command, workspace.folder / "lockgate.log", workspace.environment)) as tree:
            times.append(tree.wait(workspace.ready))
            closed(workspace.gateway, workspace.mixed(50), count, 16)
            workers = {each.pid for each in tree.workers()}
            memory.append(max(each.memory_info().rss / MB for each in tree.members() if each.pid in workers))
            control.append(tree.members()[0].memory_info().rss / MB)
    report.section(
        "Start and memory",
        [
            Figure("ready with a warm head cache", median(times), "s", READY_S, spread(times), "process start to /readyz 200"),
            Figure("resident memory of a worker", median(memory), "MB", MEMORY_MB, spread(memory), f"after {count} requests"),
            Figure("resident memory of the control process", median(control), "MB", None, spread(control)),
        ],
    )


def two_workers(report: Report, folder: Path, origin: str, repetitions: int, count: int) -> None:
    """Twice the callers for two workers, so that each has as much to do as the one; and as many callers for both, where each has half of
    it, and shares its wake-ups and commits among fewer requests."""
    costs: dict[tuple[int, int], list[float]] = {(1, 16): [], (1, 32): [], (2, 32): []}
    rates: dict[tuple[int, int], list[float]] = {each: [] for each in costs}
    spaces = {many: make_workspace(folder / f"workers-{many}", origin) for many in (1, 2)}
    for many, workspace in spaces.items():
        with lockgate(workspace, many):
            pass
    for _ in range(repetitions):
        for (many, callers), cost in costs.items():
            with lockgate(spaces[many], many) as tree:
                closed(spaces[many].gateway, spaces[many].lookup, count // 4, callers)
                before = tree.cpu_s()
                rates[many, callers].append(closed(spaces[many].gateway, spaces[many].lookup, count, callers))
                cost.append((tree.cpu_s() - before) / count * 1e6)
    figures = [_over(costs, rates, callers) for callers in (16, 32)]
    report.section("Two workers", figures, note=f"One ledger for both: {_verified(spaces[2])}")


def _over(costs: dict[tuple[int, int], list[float]], rates: dict[tuple[int, int], list[float]], callers: int) -> Figure:
    one, two = costs[1, callers], costs[2, 32]
    ratios = [both / alone for alone, both in zip(one, two, strict=True)]
    note = f"{median(two):.0f} µs over {median(one):.0f} µs; {median(rates[2, 32]):,.0f}/s and {median(rates[1, callers]):,.0f}/s"
    return Figure(f"CPU a decision, two workers and 32 callers over one and {callers}", median(ratios), "×", WORKERS, spread(ratios), note)


def _verified(workspace: Workspace) -> str:
    command: Sequence[str] = [sys.executable, "-m", "lockgate", "audit", "verify", "--config", str(workspace.config)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise BenchError(f"the ledger of two workers does not verify: {done.stdout}{done.stderr}")
    return done.stdout.strip().splitlines()[0]
