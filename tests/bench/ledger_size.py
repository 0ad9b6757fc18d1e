"""The ledger as it grows: whether an append costs the same among ten million records, and what proofs and verification cost."""

from __future__ import annotations

import statistics
import time
from functools import partial
from pathlib import Path

from adapters.sqlite.connection import Connection, StandardConnection, connect
from adapters.sqlite.ledger import SqliteStore
from adapters.sqlite.reader import SqliteReader
from router.audit.checking.verify import Plan, verify
from router.audit.journal import Checkpointing, Journal
from router.audit.keys.files import ensure_signing_key
from router.audit.questions.reader import Stored
from router.audit.tree.checkpoint import NoteSigner
from router.audit.tree.merkle import leaf_hash, verify_inclusion
from router.audit.tree.proof import prove_inclusion
from router.ports import Entry
from tests.bench.report import Figure, Report, median, percentile, spread

SMALL = 10_000
BATCH, TURNS, COMMITS = 64, 15, 12
AT_ONCE = 1024
PROOFS = 400
LEAF_BYTES = 330
FULL_LEAF, FULL_SEALED = 1270, 1200


def measure(report: Report, folder: Path, records: int) -> None:
    """Takes about 450 bytes of disk a record."""
    signer = NoteSigner("bench.example/ledger", ensure_signing_key(folder / "size.key"))
    small, large = folder / "small.sqlite", folder / "large.sqlite"
    for path, count in ((small, SMALL), (large, records)):
        built(path, signer, count)
    figures = [batches(folder / "batches.sqlite", signer), growth(small, large, signer, records)]
    report.section(f"Ledger by size — {records:,} records", [*figures, *proofs(large, records), verification(large, signer)])
    for file in (small, large):
        for each in folder.glob(f"{file.name}*"):
            each.unlink()


def entry(number: int, leaf_bytes: int = LEAF_BYTES, sealed: int = 0) -> Entry:
    head = f'{{"details":{{"filler":"{"x" * (leaf_bytes - 120)}","number":{number}}},"event":"bench","schema":"lockgate.system.v1"'
    return Entry(f'{head},"time":"2026-11-27T00:00:00.000000000Z"}}'.encode(), b"s" * sealed, "k" * 16 if sealed else "")


def journal(path: Path, signer: NoteSigner, *, synced: bool = True) -> Journal:
    made = Journal(SqliteStore(path, connect if synced else unsynced), Checkpointing(signer, None, 3600, 2**40))
    made.open()
    return made


class Unsynced(StandardConnection):
    """For building only. The store's own pragma about this is passed over."""

    def execute(self, sql: str, parameters: object = ()) -> list[object]:  # type: ignore[override]  # only what is built with it
        return super().execute("PRAGMA synchronous=OFF" if sql == "PRAGMA synchronous=FULL" else sql, parameters)  # type: ignore[arg-type]


def unsynced(path: Path) -> Connection:
    return Unsynced(path)


def built(path: Path, signer: NoteSigner, count: int) -> None:
    made = journal(path, signer, synced=False)
    for start in range(0, count, 4096):
        made.append([entry(number) for number in range(start, min(count, start + 4096))])
    made.sign_checkpoint()
    made.close()


def batches(path: Path, signer: NoteSigner) -> Figure:
    """Full-sized records, a thousand to a commit: wall-clock time, syncs included."""
    made = journal(path, signer)
    turns = []
    for turn in range(12):
        rows = [entry(turn * AT_ONCE + number, FULL_LEAF, FULL_SEALED) for number in range(AT_ONCE)]
        began = time.perf_counter()
        made.append(rows)
        turns.append((time.perf_counter() - began) / AT_ONCE * 1e6)
    made.close()
    note = f"{1e6 / median(turns):,.0f} records/s; FULL, {AT_ONCE} a commit, {FULL_LEAF + FULL_SEALED:,} bytes a record"
    return Figure("a durable record, in batches", median(turns), "µs", 50.0, spread(turns), note)


def growth(small: Path, large: Path, signer: NoteSigner, records: int) -> Figure:
    """CPU of appends to both, in turns; each turn gives one ratio."""
    both, ratios, costs = [journal(path, signer) for path in (small, large)], list[float](), list[float]()
    for _ in range(TURNS):
        cost = [appended(each) for each in both]
        ratios.append(cost[1] / cost[0])
        costs.append(cost[1] / (BATCH * COMMITS) * 1e6)
    for each in both:
        each.close()
    note = f"{median(costs):.1f} µs of CPU a record, {BATCH} a commit"
    return Figure(f"append at {records:,} against {SMALL:,}", statistics.median(ratios), "x", 1.1, spread(ratios), note)


def appended(made: Journal) -> float:
    rows = [entry(number) for number in range(BATCH)]
    began = time.process_time()
    for _ in range(COMMITS):
        made.append(rows)
    return time.process_time() - began


def proofs(path: Path, records: int) -> list[Figure]:
    """Of records all over the ledger, from its stored hashes."""
    reader = SqliteReader(path, Stored)
    size, root = reader.last_commit()
    times, sizes = [], []
    for place in range(PROOFS):
        index = place * (records // PROOFS)
        began = time.perf_counter()
        proof = prove_inclusion(reader, index, size)
        times.append((time.perf_counter() - began) * 1000)
        sizes.append(sum(map(len, proof)))
        stored = next(iter(reader.records(index, index + 1)))
        if not verify_inclusion(leaf_hash(stored.leaf), index, size, proof, root):
            raise ValueError(f"the proof of record {index} does not hold")
    reader.close()
    slowest = f"p99 {percentile(times, 0.99):.2f} ms"
    return [
        Figure("an inclusion proof", median(times), "ms", 1.0, spread(times), slowest),
        Figure("its hashes", max(sizes), "bytes", 1500.0),
    ]


def verification(path: Path, signer: NoteSigner) -> Figure:
    began = time.perf_counter()
    report = verify(Plan(partial(SqliteReader, path, Stored), signer.verifier))
    taken = time.perf_counter() - began
    if not report.ok:
        raise ValueError(f"the ledger does not verify: {report.faults[0].message}")
    return Figure(
        "verification of a record", taken / report.size * 1e6, "µs", 10.0, None, f"{report.size / taken:,.0f} records/s, all cores"
    )
