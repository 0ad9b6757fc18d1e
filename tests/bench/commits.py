"""What a decision costs in the worker and in the control process, and how many records its ledger's writer finds for each commit."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.bench.load import closed
from tests.bench.processes import process_cpu_s
from tests.bench.report import Figure, Report, median, spread
from tests.bench.workspace import Workspace, lockgate, make_workspace

CALLERS = (1, 16, 64)


def measure(report: Report, folder: Path, origin: str, repetitions: int, count: int) -> None:
    workspace = make_workspace(folder / "commits", origin)
    with lockgate(workspace) as tree:
        closed(workspace.gateway, workspace.lookup, count // 2, 16)
        figures = list[Figure]()
        for callers in CALLERS:
            batches, workers, controls = [], [], []
            for _ in range(repetitions):
                worker, before, total = tree.workers()[0].pid, _written(workspace), tree.cpu_s()
                own = process_cpu_s(worker)
                closed(workspace.gateway, workspace.lookup, count, callers)
                after, own = _written(workspace), process_cpu_s(worker) - own
                batches.append((after[0] - before[0]) / (after[1] - before[1]))
                workers.append(own / count * 1e6)
                controls.append((tree.cpu_s() - total - own) / count * 1e6)
            figures += _figures(callers, batches, workers, controls)
    report.section("Commits — one worker, GET by rule, closed loop", figures)
    report.section("What a decision leaves", [_size(make_workspace(folder / "size", origin), count)])


def _figures(callers: int, batches: list[float], workers: list[float], controls: list[float]) -> list[Figure]:
    return [
        Figure(f"{callers} at once, records a commit", median(batches), "", None, spread(batches), "two records a decision"),
        Figure(f"{callers} at once, worker", median(workers), "µs", None, spread(workers), "CPU a decision"),
        Figure(f"{callers} at once, control process", median(controls), "µs", None, spread(controls), "CPU a decision, its index included"),
    ]


def _size(workspace: Workspace, count: int) -> Figure:
    """After the end, when the log is in the file."""
    with lockgate(workspace):
        for make in (workspace.lookup, workspace.cached):
            closed(workspace.gateway, make, count, 16)
    file = workspace.folder / "state" / "ledger.sqlite"
    with closing(sqlite3.connect(file)) as ledger:
        records, leaves, sealed = ledger.execute("SELECT count(*), sum(length(leaf)), sum(length(sealed)) FROM records").fetchone()
    leaf, part, size = (each / (records / 2) / 1000 for each in (leaves, sealed, file.stat().st_size))
    note = f"of which leaves {leaf:.1f} kB, sealed parts {part:.1f} kB; half GET by rule, half POST cached"
    return Figure("the ledger's file, a decision", size, "kB", None, None, note)


def _written(workspace: Workspace) -> tuple[int, int]:
    """(records, commits) so far."""
    with closing(sqlite3.connect(workspace.folder / "state" / "ledger.sqlite")) as ledger:
        size, commits = ledger.execute("SELECT max(size), count(*) FROM commits").fetchone()
    return int(size), int(commits)
