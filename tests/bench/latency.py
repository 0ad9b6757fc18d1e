"""Latency that Lockgate adds at half of what it can do: requests that come when they come, to both servers at the same times."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from tests.bench.load import closed, opened
from tests.bench.processes import bare_proxy
from tests.bench.report import Figure, Report, median, percentile, spread
from tests.bench.workspace import Mixed, Workspace, lockgate, make_workspace

P50_MS, P99_MS = 3.0, 15.0
SHARES = (0, 20, 100)


def measure(report: Report, folder: Path, origin: str, repetitions: int, seconds: float) -> None:
    workspace = make_workspace(folder / "latency", origin)
    with ExitStack() as stack:
        _, port = stack.enter_context(bare_proxy(folder, "aiohttp", origin))
        stack.enter_context(lockgate(workspace))
        closed(workspace.gateway, workspace.mixed(50), 400, 16)
        closed(port, workspace.lookup, 1000, 16)
        figures, first = [], 1000
        for share in SHARES:
            found, first = _share(workspace, port, share, repetitions, seconds, first)
            figures += found
    report.section("Added latency at half of saturation (share of requests whose text the encoder had never seen)", figures)


def _share(workspace: Workspace, port: int, share: int, repetitions: int, seconds: float, first: int) -> tuple[list[Figure], int]:
    make = Mixed(workspace, share)
    saturation = closed(workspace.gateway, make, 1500, 64, first)
    first += 1500
    rate = saturation / 2
    count = int(rate * seconds)
    added: dict[float, list[float]] = {0.5: [], 0.99: []}
    ours99, bare99 = [], []
    for turn in range(repetitions):
        bare = opened(port, make, rate, count, turn, first)
        ours = opened(workspace.gateway, make, rate, count, turn, first)
        first += count
        for at, found in added.items():
            found.append((percentile(ours, at) - percentile(bare, at)) * 1000)
        ours99.append(percentile(ours, 0.99) * 1000)
        bare99.append(percentile(bare, 0.99) * 1000)
    note = f"{rate:,.0f}/s, half of {saturation:,.0f}/s"
    worst = f"{median(ours99):.1f} ms over {median(bare99):.1f} ms"
    return [
        Figure(f"{share} % encoder, p50", median(added[0.5]), "ms", P50_MS, spread(added[0.5]), note),
        Figure(f"{share} % encoder, p99", median(added[0.99]), "ms", P99_MS, spread(added[0.99]), worst),
    ], first
