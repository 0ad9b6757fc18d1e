"""`python -m tests.bench`: Lockgate's figures, as ratios to a peer measured in the same run."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvloop

from tests.bench import (
    added_cpu,
    commits,
    console,
    deliveries,
    deliveries_ordered,
    encoder,
    envoy,
    events,
    intake,
    latency,
    ledger,
    ledger_size,
    lookups,
    policy_activation,
    policy_engines,
    policy_rollout,
    policy_size,
    questions,
    rules_size,
    running,
    scale,
    shared_state,
    stages,
    stalls,
    witnesses,
)
from tests.bench.parts import parts
from tests.bench.processes import BenchError, upstream
from tests.bench.report import Report, median, spread
from tests.bench.workspace import make_workspace


@dataclass(frozen=True, slots=True)
class Effort:
    """How many repetitions, requests a repetition, turns of a stage, seconds of open-loop load, records of the large ledger,
    deliveries that wait."""

    repetitions: int
    requests: int
    turns: int
    seconds: float
    records: int
    pending: int


USUAL = Effort(repetitions=3, requests=1200, turns=300, seconds=2.0, records=300_000, pending=20_000)
LARGE = Effort(repetitions=9, requests=4000, turns=2000, seconds=8.0, records=10_000_000, pending=100_000)


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of the context managers that end what was started
    report, effort = Report(), LARGE if options.large else USUAL
    began = time.perf_counter()
    _machine(report)
    try:
        with tempfile.TemporaryDirectory(prefix="lockgate-bench-") as name, upstream(Path(name)) as origin:
            for title, part in _sections(report, Path(name), origin, effort).items():
                if not options.only or title in options.only:
                    report.say(f"… {title}")
                    part()
    except BenchError as error:
        report.console.print(f"[red]{error}[/]", highlight=False)
        return 1
    report.facts["seconds"] = round(time.perf_counter() - began, 1)
    report.say(f"{report.facts['seconds']:.0f} s in all")
    if options.json is not None:
        report.write(options.json)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--large", action="store_true", help="more repetitions and requests")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures for machines")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=SECTIONS,
    )
    return parser.parse_args()


def _sections(report: Report, folder: Path, origin: str, effort: Effort) -> dict[str, Callable[[], None]]:
    many, count = effort.repetitions, effort.requests
    return {
        "stages": lambda: uvloop.run(_stages(report, folder, origin, effort)),
        "encoder": lambda: uvloop.run(_encoder(report, folder, origin, effort)),
        "ledger": lambda: uvloop.run(ledger.measure(report, folder, many, 60)),
        "size": lambda: ledger_size.measure(report, folder, effort.records),
        "lookups": lambda: lookups.measure(report, folder, effort.records // 10),
        "questions": lambda: questions.measure(report, folder, many, effort.records, 20_000),
        "rules-size": lambda: rules_size.measure(report, many),
        "policy-engines": lambda: uvloop.run(policy_engines.measure(report, many)),
        "policy-activation": lambda: policy_activation.measure(report, folder, origin, many),
        "policy-rollout": lambda: uvloop.run(_rollout(report, folder, origin)),
        "policy-size": lambda: uvloop.run(policy_size.measure(report, many)),
        "shared-state": lambda: uvloop.run(_shared_state(report, folder, origin)),
        "cpu": lambda: added_cpu.measure(report, folder, origin, "pyreqwest", many, count),
        "aiohttp": lambda: added_cpu.measure(report, folder, origin, "aiohttp", many, count // 2),
        "latency": lambda: latency.measure(report, folder, origin, many, effort.seconds),
        "ready": lambda: running.readiness(report, folder, origin, many, count // 2),
        "workers": lambda: running.two_workers(report, folder, origin, many, count * 2),
        "envoy": lambda: envoy.measure(report, folder, origin, many, count, effort.seconds),
        "envoy-workers": lambda: envoy.two_workers(report, folder, origin, many, count * 2),
        "commits": lambda: commits.measure(report, folder, origin, many, count),
        "intake": lambda: uvloop.run(intake.measure(report, folder)),
        "events": lambda: uvloop.run(events.measure(report, many * 3, count)),
        "deliveries": lambda: deliveries.measure(report, folder / "deliveries", origin, effort.pending),
        "deliveries-ordered": lambda: deliveries_ordered.measure(report, folder / "ordered", effort.pending),
        "stalls": lambda: stalls.measure(report, folder),
        "witness": lambda: witnesses.measure(report, folder),
        "console": lambda: console.measure(report, folder / "console", effort.records, many),
        "scale": lambda: scale.measure(report),
    }


async def _stages(report: Report, folder: Path, origin: str, effort: Effort) -> None:
    workspace = make_workspace(folder / "parts", origin)
    async with parts(workspace) as built:
        await stages.measure(report, built, workspace.key, effort.turns)


async def _rollout(report: Report, folder: Path, origin: str) -> None:
    workspace = make_workspace(folder / "rollout", origin)
    async with parts(workspace) as built:
        await policy_rollout.measure(report, built, workspace.key)


async def _shared_state(report: Report, folder: Path, origin: str) -> None:
    workspace = make_workspace(folder / "shared", origin)
    async with parts(workspace) as built:
        await shared_state.measure(report, built, workspace.key)


async def _encoder(report: Report, folder: Path, origin: str, effort: Effort) -> None:
    async with parts(make_workspace(folder / "encoder", origin)) as built:
        await encoder.measure(report, built, effort.repetitions * 3)


SECTIONS = list(_sections(Report(), Path(), "", USUAL))


def _machine(report: Report) -> None:
    """What the same work costs from one moment to the next: no figure here can be surer than this."""
    times = [_fixed_work() for _ in range(15)]
    noise = spread(times) / median(times) * 100
    report.facts |= {"python": sys.version.split()[0], "machine": platform.platform(), "cores": os.cpu_count()}
    report.facts |= {"noise_percent": round(noise, 1)}
    load = os.getloadavg()[0]
    report.say(f"Python {report.facts['python']}, {os.cpu_count()} cores, load {load:.1f}; the same work varies by ±{noise:.1f} % here")


def _fixed_work() -> float:
    began = time.process_time()
    sum(number * number for number in range(300_000))
    return time.process_time() - began


if __name__ == "__main__":
    sys.exit(main())
