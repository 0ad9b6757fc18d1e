"""What requests notice while a thousand rules are taken up: every answer must be right, and none may wait long."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.load import arrivals, closed, opened
from tests.bench.policy_size import INTENTS, MANY, rules
from tests.bench.processes import ROOT, BenchError
from tests.bench.report import Figure, Report, median, percentile, spread
from tests.bench.workspace import Workspace, lockgate, make_workspace

RATE = 500.0
SECONDS, CHANGED_S = 12.0, 4.0
WINDOW_S = 0.5
LONGEST_S = 1.0
LIVE = re.compile(r"configuration [0-9a-f]+ is live")


def measure(report: Report, folder: Path, origin: str, repetitions: int) -> None:
    """Raises BenchError where any request fails, or the rules are not taken up."""
    workspace = make_workspace(folder / "activation", origin)
    policies = workspace.folder / "policies"
    shutil.copytree(ROOT / "policies" / "lockgate", policies / "lockgate")
    text = workspace.config.read_text()
    workspace.config.write_text(text.replace(f"path: {ROOT}/policies", "path: policies"))
    calm, before, worst, slow, taken = [], [], [], [], []
    with lockgate(workspace):
        closed(workspace.gateway, workspace.lookup, 1000, 16)
        for turn in range(repetitions):
            calm.append(_slow(*_load(workspace, turn)))
            changing = _Change(workspace, policies, turn)
            usual, windows = _load(workspace, turn)
            taken.append(changing.seconds())
            before.append(usual * 1000)
            worst.append(max(windows) / usual)
            slow.append(_slow(usual, windows))
    report.section(
        f"Activation of {MANY:,} rules over {INTENTS} intents at {RATE:.0f} requests/s; no request failed",
        [
            Figure("p99 before", median(before), "ms", noise=spread(before)),
            Figure("p99 of the worst half second after, over that", median(worst), "×", noise=spread(worst)),
            Figure("half seconds with more than twice that, together", median(slow), "s", LONGEST_S, spread(slow)),
            Figure("such half seconds where nothing is changed", median(calm), "s", noise=spread(calm)),
            Figure("from the change of the files to the last worker", median(taken), "s", noise=spread(taken)),
        ],
    )


def _load(workspace: Workspace, turn: int) -> tuple[float, list[float]]:
    latencies = opened(workspace.gateway, workspace.lookup, RATE, int(RATE * SECONDS), turn)
    return _windows(latencies, arrivals(RATE, len(latencies), turn))


def _slow(usual: float, windows: Sequence[float]) -> float:
    return sum(WINDOW_S for each in windows if each > 2 * usual)


class _Change:
    """Puts the rules there while the load goes on, and takes them away again in the next turn."""

    def __init__(self, workspace: Workspace, policies: Path, turn: int) -> None:
        self._log = workspace.folder / "lockgate.log"
        self._before = self._live()
        self._began = time.monotonic() + CHANGED_S
        beside, place = policies.parent / "made", policies / "lockgate" / "intents"
        if turn % 2 == 0:
            for name, text in rules(MANY).items():
                file = beside / Path(name).name
                file.parent.mkdir(exist_ok=True)
                file.write_text(text)
        moved = (beside, place) if turn % 2 == 0 else (place, beside)
        threading.Timer(CHANGED_S, lambda: moved[0].rename(moved[1])).start()
        self._ended: float | None = None
        self._watching = threading.Thread(target=self._watch)
        self._watching.start()

    def seconds(self) -> float:
        self._watching.join()
        if self._ended is None:
            raise BenchError(f"the rules were not taken up: {self._log.read_text()[-500:]}")
        return self._ended - self._began

    def _watch(self) -> None:
        while time.monotonic() < self._began + 2 * SECONDS:
            time.sleep(0.02)
            if self._live() > self._before:
                self._ended = time.monotonic()
                return

    def _live(self) -> int:
        return len(LIVE.findall(self._log.read_text())) if self._log.exists() else 0


def _windows(latencies: Sequence[float], due: Sequence[float]) -> tuple[float, list[float]]:
    """(p99 before the change, p99 of each half second after it); what comes after the last whole one is too little to have a p99."""
    usual = percentile([each for each, at in zip(latencies, due, strict=True) if at < CHANGED_S], 0.99)
    found: dict[int, list[float]] = {}
    for each, at in zip(latencies, due, strict=True):
        if CHANGED_S <= at < SECONDS:
            found.setdefault(int((at - CHANGED_S) / WINDOW_S), []).append(each)
    return usual, [percentile(each, 0.99) for each in found.values()]
