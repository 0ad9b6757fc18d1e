"""Questions to a trail of many records: the first page of any filter, exact counts, aggregates, and what the index costs to make.

The index is made of random columns, packed as the real one is; the filters are those that an index for each column would answer badly:
rare combinations of frequent values, ranges, NOT, and what matches nothing, for which everything must be looked at.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from adapters.sqlite.connection import StandardConnection
from adapters.sqlite.index import SqliteIndex
from adapters.sqlite.index_batch import store_segment
from adapters.sqlite.reader import SqliteReader
from router.audit.questions.columns import COLUMNS, LEVELS, NAMES, WORDLY, Kind
from router.audit.questions.index import catch_up
from router.audit.questions.query import Query, by_default
from router.audit.questions.reader import Stored
from router.audit.questions.segments import NULL, SIZE, Integers
from router.audit.questions.stats import Grouping, statistics
from router.audit.questions.where import where
from router.decision import TraceContext
from tests.bench.report import Figure, Report, median, percentile, spread
from tests.unit.audit.ledgers import decision_entry, outcome_entry, written
from tests.unit.audit.samples import KEY, KEY_ID, OUTCOME, numbered

TARGET_MS = 100.0
NS = 1_000_000_000
BEGIN = 1_764_000_000 * NS
PAGE = 100
# How often each code of a column of words is there, as shares or as so many equally frequent ones.
WORDS: dict[str, tuple[float, ...] | int] = {
    "kind": (0.5, 0.5),
    "risk": (0.7, 0.2, 0.09, 0.01),
    "effect": (0.9, 0.07, 0.02, 0.01),
    "result": (0.9, 0.07, 0.02, 0.01),
    "classification": (0.93, 0.04, 0.02, 0.01),
    "tier": (0.1, 0.3, 0.6),
    "intent": 150,
    "runner_up": 150,
    "route": 12,
    "destination": 12,
    "tenant": 200,
    "reason": 60,
    "finding": 40,
    "upstream": 20,
}
FILTERS = (
    "risk = 'high' and effect = 'w2'",
    "intent = 'w77' and confidence < 0.1 and effect = 'w4'",
    "confidence between 0.5 and 0.50001",
    "result = 'w4' and risk = 'critical' and effect = 'w3' and tier = 'w1'",
    "not (effect = 'w1' or risk = 'low') and tenant in ('w7', 'w8', 'w9') and finding is null",
    "intent like 'w14%' and margin < 0.00001 and duration > '900ms'",
    "reason = 'w5' and tenant = 'w9' and risk >= 'critical'",
    "time between '2025-11-24T16:10' and '2025-11-24T16:11' and effect = 'w2'",
    "key_id = '{key}' and effect = 'w4'",
    "decision_id = '{decision}'",
    "trace_id = '{trace}'",
    "confidence < 0.000001 and margin < 0.001",
    "duration > '999ms' and attempts > 4 and confidence > 0.999",
    "status = 503 and tenant = 'w3' and margin > 0.99",
    "result is null",
    "reason = 'nothing'",
)
COUNTS = FILTERS[:9]
GROUPS = ((), ("intent", "effect"), ("tenant", "risk", "result"))


def measure(report: Report, folder: Path, repetitions: int, records: int, real: int) -> None:
    path = folder / "questions.sqlite"
    began = time.perf_counter()
    synthetic(path, records)
    report.say(f"  {records:,} records in {time.perf_counter() - began:.0f} s, {path.stat().st_size / records:.0f} bytes each")
    index = SqliteIndex(path)
    try:
        figures = [*_pages(index, records, repetitions), *_aggregates(index, records, repetitions)]
    finally:
        index.close()
    report.section(f"Questions — {records:,} records", [*figures, _growth(folder, repetitions, real)])


def synthetic(path: Path, records: int) -> None:
    """Half decisions, half outcomes; a subject for every 200 records."""
    SqliteIndex(path).close()
    connection = StandardConnection(path)
    dice = np.random.default_rng(1)
    connection.execute("BEGIN IMMEDIATE")
    for name, shares in WORDS.items():
        many = shares if isinstance(shares, int) else len(shares)
        connection.execute_many("INSERT INTO words VALUES (?,?,?)", [(NAMES.index(name), at, _word(name, at)) for at in range(1, many + 1)])
    for segment in range(-(-records // SIZE)):
        rows = min(SIZE, records - segment * SIZE)
        for place, name in enumerate(NAMES):
            store_segment(connection, place, segment, _random(name, np.arange(rows) + segment * SIZE, records, dice))
    for name, step in (("decision_id", 2), ("trace_id", 2), ("key_id", 200)):
        connection.execute_many(f"INSERT INTO {name} VALUES (?,?)", ((at + 1, _short(name, at)) for at in range(0, records, step)))
    connection.execute("UPDATE meta SET value = ? WHERE name = 'complete'", (records,))
    connection.execute("COMMIT")
    connection.close()


def _random(name: str, numbers: Integers, records: int, dice: np.random.Generator) -> Integers:
    rows, kind = len(numbers), COLUMNS[name].kind
    if name in WORDS:
        shares = WORDS[name]
        many = shares if isinstance(shares, int) else len(shares)
        return 1 + dice.choice(many, rows, p=None if isinstance(shares, int) else shares).astype(np.int64)
    if name == "time":
        return BEGIN + numbers * 1_000_000
    if name in ("decision_id", "trace_id"):
        return numbers // 2 * 2 + 1
    if name == "key_id":
        return np.minimum(dice.integers(0, records, rows), numbers) // 200 * 200 + 1
    if kind is Kind.SCORE:
        return dice.integers(0, 1_000_001, rows)
    if kind is Kind.DURATION:
        return dice.integers(0, NS, rows)
    if kind is Kind.COUNT:
        return dice.choice(np.array([1, 200, 403, 503]), rows).astype(np.int64)
    return np.full(rows, NULL if kind in (*WORDLY, Kind.ID, Kind.TIME) else 1, np.int64)


def _word(name: str, code: int) -> str:
    if name == "kind":
        return ("decision", "outcome")[code - 1]
    return LEVELS[code - 1] if COLUMNS[name].kind is Kind.LEVEL else f"w{code}"


def _short(name: str, at: int) -> bytes:
    return b"x" + (at | len(name) << 120).to_bytes(16, "big")


def _id(name: str, at: int) -> str:
    return _short(name, at)[1:].hex()


def _conditions(records: int, filters: tuple[str, ...]) -> list[Any]:
    """With ids of the middle."""
    at = records // 400 * 200
    ids = {"key": _id("key_id", at), "decision": _id("decision_id", at), "trace": _id("trace_id", at)}
    return [where(text.format(**ids)) for text in filters]


def _pages(index: SqliteIndex, records: int, repetitions: int) -> list[Figure]:
    wall: list[list[float]] = []
    cpu: list[float] = []
    for condition in _conditions(records, FILTERS):
        mine = []
        for _ in range(repetitions):
            began, began_cpu = time.perf_counter(), time.process_time()
            index.find(condition, None, True, PAGE)
            mine.append((time.perf_counter() - began) * 1000)
            cpu.append((time.process_time() - began_cpu) * 1000)
        wall.append(mine)
    every = [each for mine in wall for each in mine]
    slowest = max(range(len(wall)), key=lambda at: median(wall[at]))
    note = f"p50 {median(every):.1f} ms; of CPU p95 {percentile(cpu, 0.95):.0f} ms, p50 {median(cpu):.1f} ms"
    return [
        Figure(f"page of {PAGE}, p95 of {len(FILTERS)} filters", percentile(every, 0.95), "ms", TARGET_MS, None, note),
        Figure("slowest filter", median(wall[slowest]), "ms", None, spread(wall[slowest]), FILTERS[slowest]),
    ]


def _aggregates(index: SqliteIndex, records: int, repetitions: int) -> list[Figure]:
    counted = [_timed(lambda: sum(len(chunk["record"]) for chunk in index.scan(one, ()))) for one in _conditions(records, COUNTS)]  # noqa: B023 - called at once
    figures = [Figure(f"exact count, p95 of {len(COUNTS)} filters", percentile(counted, 0.95), "ms")]
    decisions = by_default(Query()).condition()
    for by in GROUPS:
        grouping = Grouping(by, None)
        times = [_timed(lambda: statistics(index, decisions, grouping, records)) for _ in range(min(3, repetitions))]  # noqa: B023 - called at once
        figures.append(
            Figure(f"every decision by {', '.join(by) or 'nothing'}", median(times), "ms", None, spread(times), "with percentiles")
        )
    return figures


def _growth(folder: Path, repetitions: int, real: int) -> Figure:
    """Of real records: reading, parsing, indexing."""
    place = folder / "grown"
    place.mkdir()
    made = []
    for at in range(real // 2):
        one = numbered(at)
        one = replace(
            one, request=replace(one.request, id=f"{one.id[:-13]}1{at:012x}", trace=TraceContext(f"{at * 7919 + 1:032x}", "b2" * 8))
        )
        made += [decision_entry(one, b"{}", KEY_ID, KEY), outcome_entry(one.id, OUTCOME, one.decided_ns + 1, KEY_ID, KEY)]
    written(place, made, 1000, 10**9)
    rates = []
    for turn in range(min(3, repetitions)):
        reader, index = SqliteReader(place / "ledger.sqlite", Stored), SqliteIndex(place / f"index-{turn}.sqlite")
        began = time.process_time()
        catch_up(reader, index)
        rates.append(real / (time.process_time() - began))
        index.close()
        reader.close()
    return Figure("index made from the ledger", median(rates), "records/s", None, spread(rates), "on one core")


def _timed(work: Any) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000
