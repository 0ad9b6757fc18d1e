"""The ledger by itself: durable records a second, and how long a commit takes."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from adapters.postgres.ledger import PostgresStore
from adapters.sqlite.ledger import SqliteStore
from examples.halden.company.programs import postgres_programs
from router.audit.journal import Checkpointing, Journal
from router.audit.keys.files import ensure_signing_key
from router.audit.ledger import AuditLedger
from router.audit.tree.checkpoint import NoteSigner
from router.ports import Entry
from router.system import settle_memory
from tests.bench.report import Figure, Report, median, percentile, spread
from tests.postgres_server import PostgresServer, running

BATCHES = (1, 16, 64, 256)
TARGET_MS = 10.0
RECORD = Entry(b'{"schema":"bench","filler":"' + b"x" * 1270 + b'"}', b"s" * 1200, "k" * 16)


async def measure(report: Report, folder: Path, repetitions: int, commits: int) -> None:
    signer = NoteSigner("bench.example/ledger", ensure_signing_key(folder / "bench.key"))
    ledger = AuditLedger(Journal(SqliteStore(folder / "bench.sqlite"), Checkpointing(signer)))
    await ledger.open()
    settle_memory()  # as the process that owns a ledger does: else what the other benchmarks loaded is looked through again and again
    try:
        figures = [await _batch(ledger, batch, repetitions, commits) for batch in BATCHES]
    finally:
        await ledger.close()
    report.section(
        "Ledger — SQLite, WAL, synchronous=FULL; 2.5 kB a record with its sealed part", [each for pair in figures for each in pair]
    )
    if postgres_programs() is not None:
        with running() as server:
            await _beside_postgres(report, folder, signer, server, repetitions, commits)


async def _beside_postgres(
    report: Report, folder: Path, signer: NoteSigner, server: PostgresServer, repetitions: int, commits: int
) -> None:
    """SQLite, one node and two nodes on PostgreSQL, each batch in turns, on the same disk."""
    shared = server.server()
    sqlite = AuditLedger(Journal(SqliteStore(folder / "beside.sqlite"), Checkpointing(signer)))
    one, two = (AuditLedger(Journal(PostgresStore(shared, signer.verifier), Checkpointing(signer))) for _ in range(2))
    ledgers = (sqlite, one, two)
    for ledger in ledgers:
        await ledger.open()
    try:
        figures = [figure for batch in BATCHES for figure in await _compared(sqlite, one, two, batch, repetitions, commits)]
    finally:
        for ledger in ledgers:
            await ledger.close()
    report.section("Ledger — PostgreSQL 18 on loopback, fsync and synchronous_commit on; SQLite in turns with it", figures)


async def _compared(sqlite: AuditLedger, one: AuditLedger, two: AuditLedger, batch: int, repetitions: int, commits: int) -> list[Figure]:
    rates: dict[str, list[float]] = {"SQLite": [], "one node": [], "two nodes": []}
    waits: list[float] = []
    for _ in range(repetitions):
        for name, ledgers in (("SQLite", (sqlite,)), ("one node", (one,)), ("two nodes", (one, two))):
            began = time.perf_counter()
            taken = await asyncio.gather(*(_commits(ledger, batch, commits) for ledger in ledgers))
            rates[name].append(len(ledgers) * batch * commits / (time.perf_counter() - began))
            waits += taken[0] if name == "one node" else []
    base, single, double = (median(each) for each in rates.values())
    p99 = percentile(waits, 0.99)
    return [
        Figure(f"{batch} at once, one node", single, "records/s", None, spread(rates["one node"]), f"{single / base:.2f} × SQLite"),
        Figure(
            f"{batch} at once on each of two nodes", double, "records/s", None, spread(rates["two nodes"]), f"{double / single:.2f} × one"
        ),
        Figure(f"{batch} at once, one node, commit p99", p99, "ms", None, None, f"p50 {median(waits):.2f} ms"),
    ]


async def _commits(ledger: AuditLedger, batch: int, commits: int) -> list[float]:
    """Milliseconds that each took."""
    waits = []
    for _ in range(commits):
        at = time.perf_counter()
        await asyncio.gather(*(ledger.append(RECORD) for _ in range(batch)))
        waits.append((time.perf_counter() - at) * 1000)
    return waits


async def _batch(ledger: AuditLedger, batch: int, repetitions: int, commits: int) -> tuple[Figure, Figure]:
    rates, cpu, waits = [], [], []
    for _ in range(repetitions):
        began, began_cpu = time.perf_counter(), time.process_time()
        waits += await _commits(ledger, batch, commits)
        rates.append(batch * commits / (time.perf_counter() - began))
        cpu.append((time.process_time() - began_cpu) / (batch * commits) * 1e6)
    rate = Figure(f"{batch} at once", median(rates), "records/s", None, spread(rates), f"{median(cpu):.0f} µs of CPU a record")
    return rate, Figure(f"{batch} at once, commit p99", percentile(waits, 0.99), "ms", TARGET_MS, None, f"p50 {median(waits):.2f} ms")
