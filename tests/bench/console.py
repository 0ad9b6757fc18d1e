"""How soon the console's pages are painted before a large ledger: Chromium, on loopback, beside a page that asks the services nothing.

The ledger is filled by the parts that fill it, with decisions of full size. A page is painted with its fifty records; only what counts
everything (`intents`) paints its frame first, and its figures are timed apart. The first visit of each loads style and scripts too.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from pathlib import Path

from playwright.sync_api import Browser, Page

from router.audit.records.record import decision_entry
from router.control.services import Json
from router.decision import TraceContext
from router.processes.evidence import open_evidence
from router.system import SystemClock, UuidV7
from router.workspace import parse, read
from tests.bench.report import Figure, Report, median, percentile, spread
from tests.e2e.browsing import browser
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, Person, prepared
from tests.unit.audit.samples import numbered

AIM_MS, BATCH, MOST, LONGEST_S = 200.0, 1000, 1_000_000, 1800.0
PAINTED = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
PAGES = {
    "nothing is there (the peer)": "/console/nowhere",
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
        lockgate.process.start()
        until(lockgate.ready, "Lockgate was ready", LONGEST_S)
        with browser() as chromium:
            ((first, _),) = _visits(chromium, lockgate, PAGES["audit, newest"], 1)
            pages = [_figure(chromium, lockgate, name, path.format(decision=decision), repetitions) for name, path in PAGES.items()]
            counted = [_answered(chromium, lockgate, name, path) for name, path in COUNTED.items()]
    note = f"the first page of all, which makes the index, took {first / 1000:.1f} s"
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


def _figure(chromium: Browser, lockgate: Lockgate, name: str, path: str, repetitions: int) -> Figure:
    (first, _), *later = _visits(chromium, lockgate, path, max(5, repetitions) + 1)
    paints, answers = [paint for paint, _ in later], [answer for _, answer in later]
    note = f"the answer was there after {median(answers):.0f} ms; p95 {percentile(paints, 0.95):.0f} ms, the first visit {first:.0f} ms"
    return Figure(f"first paint: {name}", median(paints), "ms", AIM_MS, spread(paints), note)


def _answered(chromium: Browser, lockgate: Lockgate, name: str, path: str) -> Figure:
    times = [answer for _, answer in _visits(chromium, lockgate, path, 3)]
    return Figure(name, median(times), "ms", None, spread(times), "until the answer was complete")


def _visits(chromium: Browser, lockgate: Lockgate, path: str, many: int) -> list[tuple[float, float]]:
    """(until the first contentful paint, until the answer was complete), in ms from the beginning of each navigation."""
    found = []
    with chromium.new_context(**_settings(lockgate)) as context:
        page: Page = context.new_page()
        for _ in range(many):
            page.goto(path, timeout=600_000)
            page.wait_for_function(PAINTED)
            answer = page.evaluate("() => performance.getEntriesByType('navigation')[0].responseEnd")
            found.append((float(page.evaluate(PAINTED)), float(answer)))
            page.goto("about:blank")
    return found


def _settings(lockgate: Lockgate) -> Json:
    return {
        "base_url": f"http://127.0.0.1:{lockgate.ports['control']}",
        "extra_http_headers": {"authorization": f"Bearer {lockgate.keys['root']}"},
    }
