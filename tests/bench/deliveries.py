"""How fast what waits goes out after a stop: Lockgate is killed with so many deliveries pending, and started again.

They are put into its ledger by the parts that put them there, sealed under a subject's key, and killed with it before the first is sent.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from router.audit.records.record import system_entry
from router.delivery.packing import seal_outbound
from router.ports import Delivery, Due, Entry, Outbound
from router.processes.evidence import open_evidence
from router.system import SystemClock, UuidV7
from router.workspace import parse, read
from tests.bench.report import Figure, Report
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, prepared
from tests.e2e.yard import load, save

BODY = b'{"order":4711,"note":"' + b"n" * 200 + b'"}'
BATCH = 500
LONGEST_S = 1800.0
HOUR_NS = 3_600_000_000_000


def measure(report: Report, folder: Path, origin: str, pending: int) -> None:
    """`origin`: of a service that answers everything at once."""
    report.say(f"{pending} deliveries pending")
    folder.mkdir()
    with prepared(folder) as lockgate:
        catalog = load(lockgate.yard.folder / "catalog.yaml")
        catalog["destinations"]["target"] = {"adapter": "http", "upstreams": [{"url": origin}], "retries": {"attempts": 1}}
        catalog["routes"]["orders"] = {"destination": "target", "path": "/orders", "delivery": {}}
        save(lockgate.yard.folder / "catalog.yaml", catalog)
        asyncio.run(_filled(lockgate, pending))
        lockgate.process.start()
        until(lambda: _left(lockgate) < pending, "it began", 120.0)
        for pid in (*lockgate.workers(), lockgate.process.pid):
            os.kill(pid, signal.SIGKILL)
        until(lambda: lockgate.process.ended is not None, "it ended")
        left, leased, began = _left(lockgate), _left(lockgate, "owner <> ''"), time.perf_counter()
        lockgate.start()
        ready = time.perf_counter() - began
        until(lambda: _left(lockgate) <= leased, "those that nobody had were delivered", LONGEST_S)
        free = time.perf_counter() - began
        until(lambda: _left(lockgate) == 0, "all were delivered", LONGEST_S)
        took = time.perf_counter() - began
    note = f"{left} of {pending} left by a kill, {leased} of them leased: these wait until the lease lapses, 30 s"
    figures = [
        Figure("until all were delivered, from the start", took, "s"),
        Figure("until ready", ready, "s"),
        Figure("delivered a second, from ready, of those that nobody had", (left - leased) / (free - ready), "/s"),
    ]
    report.section("Deliveries after a kill, one worker", figures, note)


async def _filled(lockgate: Lockgate, pending: int) -> None:
    clock, ids = SystemClock(), UuidV7()
    evidence = await open_evidence(parse(read(lockgate.yard.config, os.environ), os.environ), clock)
    try:
        key_id, key = await evidence.keys.key_for("bench")
        for start in range(0, pending, BATCH):
            await evidence.ledger.append_many([_entry(ids.new(), clock.now_ns(), key_id, key) for _ in range(start, start + BATCH)])
    finally:
        await evidence.close()


def _entry(name: str, now: int, key_id: str, key: bytes) -> Entry:
    outbound = Outbound("POST", "/orders", [(b"content-type", b"application/json")], BODY, True, name)
    sealed = seal_outbound(key, outbound, name, "orders", "target")
    waiting = Delivery(name, "orders", "target", Due.DISPATCH, key_id, sealed, now, now, now + 72 * HOUR_NS)
    return replace(system_entry("started", now), delivery=waiting)


def _left(lockgate: Lockgate, which: str = "1") -> int:
    with closing(sqlite3.connect(f"{lockgate.yard.ledger.as_uri()}?mode=ro", uri=True, timeout=30)) as ledger:
        return int(ledger.execute(f"SELECT count(*) FROM deliveries WHERE {which}").fetchone()[0])
