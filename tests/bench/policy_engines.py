"""Verdicts a second: the embedded engine against the same questions put to OPA's own engine over HTTP on loopback, as a sidecar is.

Every verdict afresh: nothing is remembered. OPA's engine stands behind a shim of its REST API, whose own cost is reported apart, as what
an HTTP exchange without any evaluation takes.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import regorus

from adapters.opa.server import OpaServer
from adapters.rego.embedded import EmbeddedRego, load
from router.config.opa import OpaEngine
from router.system import SystemClock
from tests.bench.report import Figure, Report, median, spread
from tests.conformance.rego_truth import ROOT, opa, settings, texts
from tests.contract.opa_sidecar import sidecar
from tests.unit.policy.halden import CATALOG, asking

WINDOW_S = 0.7
AT_ONCE = 16
SHARE = 1 / 3  # of the embedded engine's throughput, which the sidecar's path may not exceed: the aim is three times as much
OVERHEAD = 1.3
Ask = Callable[[dict[str, Any]], Awaitable[Any]]


async def measure(report: Report, repetitions: int) -> None:
    data = settings(ROOT / "examples" / "halden" / "policies" / "data.yaml")
    policies = texts()
    embedded, remembering = load(policies, data, deadline_s=60), load(policies, data, deadline_s=60)
    embedded._memories = {}
    bare = _bare(policies, data)
    with sidecar() as server, opa(policies, data) as library:
        server.bundles({"main": "1"}, policies, data)
        over_http = OpaServer(OpaEngine(url=server.url), Path(), deadline_s=60, clock=SystemClock())
        await over_http.open()

        async def called(document: dict[str, Any]) -> None:
            library.eval_document("lockgate.decision.result", document)

        async def exchanged(_: dict[str, Any]) -> None:
            await over_http._asking._sent("POST", "/v1/data/nothing?provenance=true", b'{"input": {}}', 1 << 20)

        ways: dict[str, tuple[Ask, int]] = {
            "embedded": (_judged(embedded), 1),
            "remembered": (_judged(remembering), 1),
            "bare": (bare, 1),
            "sidecar": (_judged(over_http), AT_ONCE),
            "alone": (_judged(over_http), 1),
            "library": (called, 1),
            "exchange": (exchanged, AT_ONCE),
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(repetitions):
            for name, (ask, at_once) in ways.items():
                rates[name].append(await _rate(ask, at_once))
        await over_http.close()
    _tell(report, rates)


def _judged(engine: EmbeddedRego | OpaServer) -> Ask:
    async def ask(document: dict[str, Any]) -> None:
        await engine.evaluate("decision", None, document)

    return ask


def _bare(policies: Mapping[str, str], data: Mapping[str, Any]) -> Ask:
    """The interpreter alone: input in, text out."""
    engine = regorus.Engine()
    for path, text in sorted(policies.items()):
        engine.add_policy(path, text)
    engine.add_data_json(orjson.dumps(data).decode())

    async def ask(document: dict[str, Any]) -> None:
        engine.set_input_json(orjson.dumps(document).decode())
        engine.eval_rule_as_json("data.lockgate.decision.result")

    return ask


def _documents() -> Iterator[dict[str, Any]]:
    """No two are the same to a policy."""
    roles = ["employee", "finance_clerk", "hr_partner", "it_agent"]
    for number, (intent, role) in enumerate(itertools.cycle(itertools.product(CATALOG["intents"], roles))):
        yield asking(intent, role, confidence=0.5 + number % 49_999 / 100_000)


async def _rate(ask: Ask, at_once: int) -> float:
    """Evaluations a second, by the wall: the engine over HTTP works in another process."""
    documents = _documents()
    prepared = [next(documents) for _ in range(2000)]
    place, done = 0, 0
    until = time.perf_counter() + WINDOW_S

    async def one() -> None:
        nonlocal place, done
        while time.perf_counter() < until:
            place = (place + 1) % len(prepared)
            await ask(prepared[place])
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(at_once)))
    return done / (time.perf_counter() - began)


def _tell(report: Report, rates: Mapping[str, list[float]]) -> None:
    middle = {name: median(values) for name, values in rates.items()}
    shares = [one / other for one, other in zip(rates["sidecar"], rates["embedded"], strict=True)]
    calls = [one / other for one, other in zip(rates["library"], rates["embedded"], strict=True)]
    overheads = [one / other for one, other in zip(rates["bare"], rates["embedded"], strict=True)]
    exchange, call = 1e6 / middle["exchange"], 1e6 / middle["library"]
    each = [
        Figure("embedded, afresh", middle["embedded"], "/s", noise=spread(rates["embedded"])),
        Figure("embedded, remembered", middle["remembered"], "/s", noise=spread(rates["remembered"])),
        Figure("the interpreter alone", middle["bare"], "/s", noise=spread(rates["bare"])),
        Figure("sidecar, 16 at once", middle["sidecar"], "/s", noise=spread(rates["sidecar"])),
        Figure("sidecar, one at a time", middle["alone"], "/s", noise=spread(rates["alone"])),
        Figure("OPA's engine called directly", middle["library"], "/s", noise=spread(rates["library"])),
        Figure("HTTP exchange without an evaluation", middle["exchange"], "/s", noise=spread(rates["exchange"])),
    ]
    ratios = [
        Figure("sidecar / embedded, throughput", median(shares), "×", SHARE, spread(shares)),
        Figure("embedded / interpreter alone, time", median(overheads), "×", OVERHEAD, spread(overheads)),
        Figure("OPA's engine called directly / embedded, throughput", median(calls), "×", noise=spread(calls)),
        Figure("the exchange's share of the sidecar's path", exchange / (exchange + call) * 100, "%", note="our client and the shim"),
    ]
    report.section("policy engines", each + ratios, "the decision of the shipped policies with Halden's data; by the wall")
