"""What taking leases costs where deliveries have orders: all in one, in a thousand, and each in its own, over none."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.memory_ledger import MemorySubjectKeys
from adapters.sqlite.ledger import SqliteStore
from router.audit.journal import Checkpointing, Journal
from router.audit.ledger import AuditLedger
from router.audit.outbox import Outbox
from router.audit.records.record import system_entry
from router.audit.tree.checkpoint import NoteSigner
from router.ports import Delivery, Due, Settled
from tests.bench.report import Figure, Report

BATCH, AT_ONCE, ROUNDS = 500, 256, 20
FAR_NS, SEALED = 10**18, b"x" * 500


def measure(report: Report, folder: Path, pending: int) -> None:
    folder.mkdir()
    bare = 0.0
    figures = list[Figure]()
    for lanes, name in ((0, "without an order"), (1, "all in one order"), (1000, "in a thousand orders"), (pending, "each in its own")):
        took, each = asyncio.run(_leased(folder / f"{lanes}.sqlite", pending, lanes))
        bare = bare or each
        note = f"{took * 1e3:.2f} ms a round"
        figures.append(Figure(f"{name}: leased and settled, of {pending}", each * 1e6, "µs each", note=f"{each / bare:.1f} ×, {note}"))
    report.section(
        "Leases of deliveries with orders (SQLite)", figures, "each with a record, up to 256 in a commit; one order: one at a time"
    )


async def _leased(path: Path, pending: int, lanes: int) -> tuple[float, float]:
    """(seconds a round of leases takes, the middle of them; seconds for each that is leased and settled)"""
    ledger = AuditLedger(Journal(SqliteStore(path), Checkpointing(NoteSigner("ledger.bench", Ed25519PrivateKey.generate()))))
    await ledger.open()
    outbox = Outbox(ledger, MemorySubjectKeys())
    rounds, done, began = list[float](), 0, 0.0
    try:
        for start in range(0, pending, BATCH):
            made = [_delivery(number, lanes) for number in range(start, start + BATCH)]
            await ledger.append_many([replace(system_entry("started", 1), delivery=each) for each in made])
        began = time.perf_counter()
        while len(rounds) < ROUNDS:
            asked = time.perf_counter()
            taken = await outbox.lease("bench", FAR_NS, 2 * FAR_NS, AT_ONCE)
            rounds.append(time.perf_counter() - asked)
            await ledger.append_many([replace(system_entry("started", 1), settled=Settled(each.id)) for each, _ in taken])
            done += len(taken)
        return statistics.median(rounds), (time.perf_counter() - began) / done
    finally:
        await ledger.close()


def _delivery(number: int, lanes: int) -> Delivery:
    order = sha256(b"%d" % (number % lanes)).digest() if lanes else b""
    return Delivery(f"d{number}", "orders", "shop", Due.DISPATCH, "k", SEALED, number, number, 3 * FAR_NS, order)
