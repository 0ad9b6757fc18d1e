"""What a verdict costs beside many rules that are not about it, with ten times the people in the data, and in a process of its own.

Every verdict afresh: nothing is remembered. The shipped policies decide with Halden's data; the rules that are added lie in the packages of
a hundred intents, of which each request is about one, as its path is asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from adapters.rego import embedded, isolated
from router.config.isolated import IsolatedEngine
from router.ports import PolicyEngine
from tests.bench.report import Figure, Report, median, spread
from tests.conformance.rego_truth import ROOT, settings, texts
from tests.unit.policy.halden import CATALOG, asking

INTENTS, FEW, MANY = 100, 10, 1000
GROWTH = 2.0
WINDOW_S = 0.5


async def measure(report: Report, repetitions: int) -> None:
    data = settings(ROOT / "examples" / "halden" / "policies" / "data.yaml")
    apart = isolated.load(IsolatedEngine(), {**texts(), **rules(MANY)}, data, deadline_s=60)
    apart._memories = {}
    engines: dict[str, PolicyEngine] = {
        "few": embedded.load({**texts(), **rules(FEW)}, data, deadline_s=60, remember=False),
        "many": embedded.load({**texts(), **rules(MANY)}, data, deadline_s=60, remember=False),
        "people": embedded.load({**texts(), **rules(MANY)}, populous(data), deadline_s=60, remember=False),
        "isolated": apart,
    }
    for engine in engines.values():
        await engine.open()
    try:
        took: dict[str, list[float]] = {name: [] for name in engines}
        for _ in range(repetitions):
            for name, engine in engines.items():
                took[name].append(await _microseconds(engine))
    finally:
        for engine in engines.values():
            await engine.close()
    _tell(report, took)


def rules(count: int) -> dict[str, str]:
    """By file: so many rules over the packages of a hundred intents, or of as many as there are rules."""
    files = {}
    for number in range(min(count, INTENTS)):
        own = "\n\n".join(
            f'deny contains "bench.rule_{each}" if input.subject.tenant == "tenant-{each}"' for each in range(number, count, INTENTS)
        )
        result = 'result := {"effect": "deny", "reasons": [{"code": code, "message": ""} | some code in deny]} if {\n\tcount(deny) > 0\n}'
        files[f"intents/i{number}.rego"] = f'package lockgate.intents.i{number}\n\n{own}\n\n{result} else := {{"effect": "allow"}}\n'
    return files


def populous(data: Mapping[str, Any]) -> dict[str, Any]:
    """Ten times the roles and tenants of every grant."""
    found = deepcopy(dict(data))
    for grants in found["lockgate"]["config"]["access"].values():
        for roles in grants.values() if isinstance(grants, dict) else ():
            for role, tenants in dict(roles).items():
                roles.update({f"{role}-{each}": [*tenants, *(f"tenant-{one}" for one in range(10))] for each in range(10)})
    return found


async def _microseconds(engine: PolicyEngine) -> float:
    """A verdict's, by the wall; no two documents are the same to a policy."""
    intents, number = list(CATALOG["intents"]), 0
    began = time.perf_counter()
    while time.perf_counter() - began < WINDOW_S:
        document = asking(intents[number % len(intents)], "employee", confidence=0.5 + number % 49_999 / 100_000)
        await engine.evaluate("decision", f"i{number % FEW}", document)
        number += 1
        if not number % 50:
            await asyncio.sleep(0)
    return (time.perf_counter() - began) / number * 1e6


def _tell(report: Report, took: Mapping[str, list[float]]) -> None:
    def ratio(one: str, other: str) -> list[float]:
        return [first / second for first, second in zip(took[one], took[other], strict=True)]

    grown, peopled, apart = ratio("many", "few"), ratio("people", "many"), ratio("isolated", "many")
    report.section(
        "policy size",
        [
            Figure(f"a verdict beside {FEW} rules", median(took["few"]), "µs", noise=spread(took["few"])),
            Figure(f"a verdict beside {MANY:,} rules over {INTENTS} intents", median(took["many"]), "µs", noise=spread(took["many"])),
            Figure("the same in a process of its own", median(took["isolated"]), "µs", noise=spread(took["isolated"])),
            Figure(f"{MANY:,} rules / {FEW} rules, time", median(grown), "×", GROWTH, spread(grown)),
            Figure("ten times the roles and tenants, time", median(peopled), "×", noise=spread(peopled)),
            Figure("in a process of its own / in this one, time", median(apart), "×", noise=spread(apart)),
        ],
        "the shipped policies with Halden's data and an intent's own rules, afresh; by the wall, making the document included",
    )
