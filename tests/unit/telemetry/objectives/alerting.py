"""The series of the alerts' own tests, as `promtool test rules` has them, given to our counters one look after another."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from router.telemetry.objectives.history import History
from router.telemetry.objectives.indicators import Growth, indicators, within
from router.telemetry.objectives.rules import ALERTS
from tests.helm.monitored import TRIED
from tests.unit.docs.pages import ROOT

FOLDER = ROOT / "tests" / "helm"
LENGTHS = {"m": 60, "h": 3600}
COUNTED = re.compile(r"lockgate_(requests|refusals|verdicts|classifications)_total|lockgate_decision_duration_seconds_(count|bucket)")


@dataclass(frozen=True)
class Case:
    """`expected`: which of the objectives' alerts fire, by the time in seconds."""

    name: str
    series: dict[str, list[float | None]]
    interval_s: int
    expected: dict[int, set[str]]


def cases() -> Iterator[Case]:
    """Those that say all that fires at a time."""
    for file in TRIED:
        for each in yaml.safe_load((FOLDER / file).read_text(encoding="utf-8"))["tests"]:
            series = {one["series"]: values(one["values"]) for one in each["input_series"]}
            expected = {}
            for test in each["promql_expr_test"]:
                if test["expr"].startswith("count by (alertname)"):
                    expected[seconds(test["eval_time"])] = set(re.findall(r'alertname="(\w+)"', str(test["exp_samples"])))
            if any(COUNTED.match(name) for name in series):
                yield Case(each["name"], series, seconds(each["interval"]), expected)


def values(text: str) -> list[float | None]:
    """`0+980x400`: 401 values. `_x60`: nothing, sixty times."""
    found: list[float | None] = []
    for part in text.split():
        told = re.fullmatch(r"(_|-?[\d.]+)(?:([+-][\d.]+))?(?:x(\d+))?", part)
        assert told is not None, part
        start, step, times = told[1], float(told[2] or 0), int(told[3] or 0)
        if start == "_":
            found += [None] * max(1, times)
        else:
            found += [float(start) + step * number for number in range(times + 1)]
    return found


def seconds(text: str) -> int:
    return int(text[:-1]) * LENGTHS[text[-1]]


def labels(name: str) -> dict[str, str]:
    return dict(re.findall(r'(\w+)="([^"]*)"', name))


@dataclass
class Seen:
    judged: History
    decisions: History
    ended: History


def looked(case: Case, begin: float, until: int) -> Seen:
    """What histories are after looks at a single worker's counters up to then."""
    seen, growth = Seen(History(begin), History(begin), History(begin)), Growth()
    for look in range(until // case.interval_s + 1):
        told = {name: course[look] or 0.0 for name, course in case.series.items() if look < len(course)}
        grown = growth.since_last({0: _indicators(told)})
        if look == 0:
            continue  # rates begin with the second value
        at = begin + look * case.interval_s
        seen.judged.add(at, grown["requests"], grown["unjudged"])
        every = grown.get(within(float("inf")), 0)
        seen.decisions.add(at, every, every - grown.get(within(0.1), 0))
        seen.ended.add(at, grown["ended"], grown["abstained"])
    return seen


def _indicators(told: dict[str, float]) -> Any:
    def by(metric: str, label: str) -> list[tuple[str, float]]:
        return [(labels(name).get(label, ""), value) for name, value in told.items() if name.startswith(f"{metric}_total")]

    durations = [(0.1, value) for name, value in told.items() if name.startswith("lockgate_decision_duration_seconds_bucket")]
    every = [(float("inf"), value) for name, value in told.items() if name.startswith("lockgate_decision_duration_seconds_count")]
    ended, refusals = by("lockgate_requests", "result"), by("lockgate_refusals", "reason")
    verdicts, classified = by("lockgate_verdicts", "reason"), by("lockgate_classifications", "status")
    return indicators(1, ended, refusals, verdicts, classified, [(bound, int(count)) for bound, count in (*durations, *every)])


def ours(names: set[str]) -> set[str]:
    return {name for name in names if any(name in alerts for alerts in ALERTS.values())}
