"""Commits in which SQLite copies its write-ahead log into the file: how often they come, and how much longer they take."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from router.audit.tree.checkpoint import NoteSigner
from tests.bench.ledger_size import entry, journal
from tests.bench.report import Figure, Report, median, percentile

RECORDS, COMMITS, LEAF, SEALED = 32, 400, 2000, 1800
P99_MS = 10.0


def measure(report: Report, folder: Path) -> None:
    made = journal(folder / "stalls.sqlite", NoteSigner("bench.example/stalls", Ed25519PrivateKey.generate()))
    spent = list[tuple[float, float]]()
    for turn in range(COMMITS):
        rows = [entry(turn * RECORDS + number, LEAF, SEALED) for number in range(RECORDS)]
        cpu, began = time.thread_time(), time.perf_counter()
        made.append(rows)
        spent.append((time.thread_time() - cpu, (time.perf_counter() - began) * 1000))
    made.close()
    usual = median([cpu for cpu, _ in spent])
    stalls = [place for place, (cpu, _) in enumerate(spent) if cpu > 5 * usual]  # CPU, since a slow sync alone is none
    apart = [later - before for before, later in pairwise(stalls)] or [COMMITS]
    note = f"of {RECORDS} records of {(LEAF + SEALED) / 1000:.1f} kB; one every {median(apart) * RECORDS:,.0f} records"
    report.section(
        "Commits that copy SQLite's log",
        [
            Figure("a usual commit", median([taken for _, taken in spent]), "ms"),
            Figure("99th percentile of all", percentile([taken for _, taken in spent], 0.99), "ms", P99_MS),
            Figure("one that copies", median([spent[place][1] for place in stalls] or [0.0]), "ms", None, None, note),
        ],
    )
