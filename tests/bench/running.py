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
    costs: dict[int, list[float]] = {1: [], 2: []}
    rates: dict[int, list[float]] = {1: [], 2: []}
    spaces = {many: make_workspace(folder / f"workers-{many}", origin) for many in costs}
    for many, workspace in spaces.items():
        with lockgate(workspace, many):
            pass
    for _ in range(repetitions):
        for many, workspace in spaces.items():
            with lockgate(workspace, many) as tree:
                closed(workspace.gateway, workspace.lookup, count // 4, 32)
                before = tree.cpu_s()
                rates[many].append(closed(workspace.gateway, workspace.lookup, count, 32))
                costs[many].append((tree.cpu_s() - before) / count * 1e6)
    ratios = [two / one for one, two in zip(costs[1], costs[2], strict=True)]
    note = f"{median(costs[2]):.0f} µs over {median(costs[1]):.0f} µs; {median(rates[2]):,.0f}/s and {median(rates[1]):,.0f}/s"
    figures = [Figure("CPU a decision, two workers over one", median(ratios), "×", WORKERS, spread(ratios), note)]
    report.section("Two workers", figures, note=f"One ledger for both: {_verified(spaces[2])}")


def _verified(workspace: Workspace) -> str:
    command: Sequence[str] = [sys.executable, "-m", "lockgate", "audit", "verify", "--config", str(workspace.config)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise BenchError(f"the ledger of two workers does not verify: {done.stdout}{done.stderr}")
    return done.stdout.strip().splitlines()[0]
