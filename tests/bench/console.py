"""How soon the console's pages are painted before a large ledger: Chromium, on loopback, beside a page that asks the services nothing.

The ledger is filled by the parts that fill it, with decisions of full size. Pages are visited in turns, so that a machine that others keep
busy is as busy for each of them: what counts is the ratio to the page with nothing on it. A page paints its frame first; when its answer
was complete is told beside, and how long the answer takes without a browser. The first visit of each loads style and scripts too.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import closing
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

from playwright.sync_api import Browser, Page

from router.audit.records.record import decision_entry
from router.control.services import Json
from router.decision import TraceContext
from router.processes.evidence import open_evidence
from router.system import SystemClock, UuidV7
from router.workspace import parse, read
from tests.bench.report import Figure, Report, median, spread
from tests.e2e.browsing import browser
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, Person, prepared
from tests.unit.audit.samples import numbered

AIM_MS, BATCH, MOST, LONGEST_S, ANSWERS = 200.0, 1000, 1_000_000, 1800.0, 15
PEER = "nothing is there (the peer)"
PAINTED = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
PAGES = {
    PEER: "/console/nowhere",
    "live decisions": "/console/",
    "audit, newest": "/console/audit",
    "audit, a filter that nothing matches": "/console/audit?where=confidence+%3D+0.123456+and+tier+%3D+%27llm%27",
    "audit, an old page": "/console/audit?cursor=100",
    "one decision with its proof": "/console/decisions/{decision}",
    "reviews": "/console/reviews",
    "intents, the frame": "/console/intents",
    "health": "/console/health",
}
COUNTED = {"intents, the figures of all": "/console/intents/figures?span=30d", "counts by intent": "/console/audit/counts?by=intent"}


def measure(report: Report, folder: Path, records: int, repetitions: int) -> None:
    folder.mkdir()
    count = min(records, MOST)
    with prepared(folder, people=(Person("root", ("admin",), ("control",)),)) as lockgate:
        began = time.perf_counter()
        decision = asyncio.run(_filled(lockgate, count))
        size = lockgate.yard.ledger.stat().st_size
        report.say(f"  {count:,} decisions in {time.perf_counter() - began:.0f} s, {size / count:.0f} bytes each")
        began = time.perf_counter()
        lockgate.process.start()
        until(lockgate.ready, "Lockgate was ready", LONGEST_S)
        ready = time.perf_counter() - began
        until(lambda: lockgate.control("GET", "/v1/audit/records?limit=1").status == 200, "the index was made", LONGEST_S)
        indexed = time.perf_counter() - began
        paths = {name: path.format(decision=decision) for name, path in PAGES.items()}
        answers = {name: _answers(lockgate, path, ANSWERS) for name, path in paths.items()}
        with browser() as chromium:
            visits = _visits(chromium, lockgate, paths, max(5, repetitions))
        counted = [_counted(name, _answers(lockgate, path, 3)) for name, path in COUNTED.items()]
    peer = median([paint for paint, _ in visits[PEER]])
    pages = [_figure(name, found, answers[name], peer) for name, found in visits.items()]
    note = f"served {ready:.0f} s after its start, without an index; that was made {indexed:.0f} s after it; load {os.getloadavg()[0]:.1f}"
    report.section(f"Console — {count:,} decisions", [*pages, *counted], note)


async def _filled(lockgate: Lockgate, count: int) -> str:
    """The id of one in the middle."""
    ids, clock, told = UuidV7(), SystemClock(), ""
    evidence = await open_evidence(parse(read(lockgate.yard.config, os.environ), os.environ), clock)
    try:
        key_id, key = await evidence.keys.key_for("anna.berg")
        for start in range(0, count, BATCH):
            now, made = clock.now_ns(), []
            for at in range(start, min(count, start + BATCH)):
                one, name = numbered(at), ids.new()
                request = replace(one.request, id=f"r{at:031x}", trace=TraceContext(f"{at * 7919 + 1:032x}", "b2" * 8))
                made.append(decision_entry(replace(one, id=name, request=request, decided_ns=now), b"{}", key_id, key))
                told = name if at == count // 2 else told
            await evidence.ledger.append_many(made)
    finally:
        await evidence.close()
    return told


def _figure(name: str, visits: list[tuple[float, float]], answers: list[float], peer: float) -> Figure:
    paints, complete = [paint for paint, _ in visits], [done for _, done in visits]
    beside = f"{median(paints) / peer:.2f} × the peer, quickest {min(paints):.0f} ms; complete after {median(complete):.0f} ms"
    note = f"{beside}; the answer alone: quickest {min(answers):.1f} ms, median {median(answers):.1f} ms"
    return Figure(f"first paint: {name}", median(paints), "ms", AIM_MS, spread(paints), note)


def _counted(name: str, answers: list[float]) -> Figure:
    return Figure(name, median(answers), "ms", None, spread(answers), "the answer alone")


def _answers(lockgate: Lockgate, path: str, many: int) -> list[float]:
    """How long each takes, in ms, over one connection and without a browser."""
    found = []
    fields = {"authorization": f"Bearer {lockgate.keys['root']}", "accept": "text/html"}
    with closing(HTTPConnection("127.0.0.1", lockgate.ports["control"], timeout=LONGEST_S)) as connection:
        for _ in range(many):
            began = time.perf_counter()
            connection.request("GET", path, headers=fields)
            connection.getresponse().read()
            found.append((time.perf_counter() - began) * 1000)
    return found


def _visits(chromium: Browser, lockgate: Lockgate, paths: dict[str, str], many: int) -> dict[str, list[tuple[float, float]]]:
    """By page: (until the first contentful paint, until the answer was complete), in ms from the beginning of each navigation, but for the
    first of each."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in paths}
    with chromium.new_context(**_settings(lockgate)) as context:
        page: Page = context.new_page()
        for turn in range(many + 1):
            for name, path in paths.items():
                page.goto(path, timeout=600_000)
                page.wait_for_function(PAINTED)
                answer = page.evaluate("() => performance.getEntriesByType('navigation')[0].responseEnd")
                if turn:
                    found[name].append((float(page.evaluate(PAINTED)), float(answer)))
                page.goto("about:blank")
    return found


def _settings(lockgate: Lockgate) -> Json:
    return {
        "base_url": f"http://127.0.0.1:{lockgate.ports['control']}",
        "extra_http_headers": {"authorization": f"Bearer {lockgate.keys['root']}"},
    }
