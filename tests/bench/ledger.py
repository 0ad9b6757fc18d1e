"""The ledger by itself: durable records a second, and how long a commit takes."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from adapters.sqlite_ledger import SqliteStore
from router.audit.checkpoint import NoteSigner
from router.audit.journal import Checkpointing, Journal
from router.audit.keys import ensure_signing_key
from router.audit.ledger import AuditLedger
from router.ports import Entry
from tests.bench.report import Figure, Report, median, percentile, spread

BATCHES = (1, 16, 64, 256)
TARGET_MS = 10.0
RECORD = Entry(b'{"schema":"bench","filler":"' + b"x" * 1270 + b'"}', b"s" * 1200, "k" * 16)


async def measure(report: Report, folder: Path, repetitions: int, commits: int) -> None:
    signer = NoteSigner("bench.example/ledger", ensure_signing_key(folder / "bench.key"))
    ledger = AuditLedger(Journal(SqliteStore(folder / "bench.sqlite"), Checkpointing(signer)))
    await ledger.open()
    try:
        figures = [await _batch(ledger, batch, repetitions, commits) for batch in BATCHES]
    finally:
        await ledger.close()
    report.section(
        "Ledger — SQLite, WAL, synchronous=FULL; 2.5 kB a record with its sealed part", [each for pair in figures for each in pair]
    )


async def _batch(ledger: AuditLedger, batch: int, repetitions: int, commits: int) -> tuple[Figure, Figure]:
    rates, cpu, waits = [], [], []
    for _ in range(repetitions):
        began, began_cpu = time.perf_counter(), time.process_time()
        for _ in range(commits):
            at = time.perf_counter()
            await asyncio.gather(*(ledger.append(RECORD) for _ in range(batch)))
            waits.append((time.perf_counter() - at) * 1000)
        rates.append(batch * commits / (time.perf_counter() - began))
        cpu.append((time.process_time() - began_cpu) / (batch * commits) * 1e6)
    rate = Figure(f"{batch} at once", median(rates), "records/s", None, spread(rates), f"{median(cpu):.0f} µs of CPU a record")
    return rate, Figure(f"{batch} at once, commit p99", percentile(waits, 0.99), "ms", TARGET_MS, None, f"p50 {median(waits):.2f} ms")
