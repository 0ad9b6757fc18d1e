"""Answers from the signed index: what keeping it costs, and what a certificate about one decision takes among many records."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import orjson

from adapters.sqlite.index import SqliteIndex
from adapters.sqlite.reader import SqliteReader
from router.audit.checking.lookup import certify_lookup, check_lookup, sought
from router.audit.checking.verify import Plan, verify
from router.audit.journal import Journal
from router.audit.keys.files import ensure_signing_key
from router.audit.lookups.chain import EVENT
from router.audit.lookups.upkeep import Sections
from router.audit.questions.index import catch_up
from router.audit.questions.query import Query
from router.audit.questions.reader import Stored
from router.audit.records.record import decision_entry, outcome_entry, system_entry
from router.audit.records.sealing import sealed_digest
from router.audit.tree.checkpoint import NoteSigner
from router.ports import Entry
from tests.bench.ledger_size import journal
from tests.bench.report import Figure, Report, median, spread
from tests.unit.audit.samples import DECISION, KEY, OUTCOME

PEOPLE, DAILY = 1000, 20_000
SMALLEST = 1024
DAY_NS = 86_400_000_000_000


def measure(report: Report, folder: Path, records: int) -> None:
    """Takes about 3,000 bytes of disk a record."""
    signer = NoteSigner("bench.example/ledger", ensure_signing_key(folder / "lookups.key"))
    path = folder / "lookups.sqlite"
    made = journal(path, signer, synced=False)
    for rows in _batches(records):
        made.append(rows)
    made.sign_checkpoint()
    plain = _verified(path, signer)
    with closing(SqliteReader(path, Stored)) as reader, closing(SqliteIndex(folder / "lookups-index.sqlite")) as index:
        began = time.process_time()
        catch_up(reader, index)
        asked = Figure("index for questions, a record", (time.process_time() - began) / records * 1e6, "µs", None, None, "CPU, at once")
        sections = Sections(reader, index, folder / "sections")
        keeping = _kept(made, sections, records)
        made.sign_checkpoint()
        figures = [asked, keeping, *_certificates(sections, signer, records)]
    made.close()
    indexed = _verified(path, signer)
    rate = f"{1e6 / indexed:,.0f} records/s of one core"
    figures.append(Figure("verification with the index, against without", indexed / plain, "x", None, None, rate))
    report.section(f"Answers from the signed index — {records:,} records", figures)
    for each in folder.glob("lookups.sqlite*"):
        each.unlink()


def _batches(records: int) -> Iterator[list[Entry]]:
    """Full-sized decisions with their outcomes. Sealed once: what differs is their ids, times, intents and people."""
    decision, outcome = (
        decision_entry(DECISION, b"{}", "k" * 32, KEY),
        outcome_entry(DECISION.id, OUTCOME, DECISION.decided_ns, "k" * 32, KEY),
    )
    first, second = ([*each.leaf.split(DECISION.id.encode(), 1)] for each in (decision, outcome))
    day, intent = orjson.loads(decision.leaf)["time"][:10].encode(), str(DECISION.classification.intent).encode()
    for start in range(0, records, 2048):
        rows = []
        for number in range(start, min(records, start + 2048), 2):
            name, key_id = f"decision-{number:024d}".encode(), f"{number // 2 % PEOPLE:032x}"
            dated = f"2026-{1 + number // DAILY // 28 % 12:02d}-{1 + number // DAILY % 28:02d}".encode()
            leaf = name.join(first).replace(day, dated).replace(b'"' + intent + b'"', f'"intent.{number // 2 % 30}"'.encode())
            rows += [_sealed(decision, leaf, key_id), _sealed(outcome, name.join(second), key_id)]
        yield rows[: records - start]


def _sealed(entry: Entry, leaf: bytes, key_id: str) -> Entry:
    """What stands in the leaf for the sealed part is of its key as well."""
    told = sealed_digest("k" * 32, entry.sealed), sealed_digest(key_id, entry.sealed)
    return Entry(leaf.replace(told[0].encode(), told[1].encode()), entry.sealed, key_id)


def _kept(made: Journal, sections: Sections, records: int) -> Figure:
    """Every section that would have been signed on the way, in small steps, joined ones included."""
    began, count, place = time.process_time(), 0, 0
    while (told := sections.next(SMALLEST, again=count > 0)) is not None:
        made.append([system_entry(EVENT, 1, told)])
        count, place = count + 1, told["end"]
    taken = (time.process_time() - began) / place * 1e6
    return Figure("signed index, a record", taken, "µs", None, None, f"CPU, in the background; {count} sections of {records:,} records")


def _certificates(sections: Sections, signer: NoteSigner, records: int) -> list[Figure]:
    figures = []
    day = {"since": "2026-01-02T00:00:00.000000000Z", "until": "2026-01-03T00:00:00.000000000Z"}
    queries = {
        "a decision": lambda turn: Query(decision_id=f"decision-{records // 9 // 2 * 2 * turn:024d}"),
        "a person": lambda turn: Query(key_id=f"{turn * 7:032x}"),
        "an intent's day": lambda turn: Query(intent=f"intent.{turn}", **day),
    }
    for name, made in queries.items():
        times, checks, sizes, found = [], [], [], 0
        for turn in range(1, 8):
            asked = sought(made(turn))
            if asked is None:
                raise ValueError("not a question for the index")
            began = time.perf_counter()
            lines = list(certify_lookup(sections, asked))
            times.append((time.perf_counter() - began) * 1000)
            began = time.perf_counter()
            found = len(list(check_lookup(lines, signer.verifier)[1]))
            checks.append((time.perf_counter() - began) * 1000)
            sizes.append(sum(map(len, lines)))
        if not found:
            raise ValueError(f"nothing was found about {name}")
        said = f"{median(sizes) / 1024:,.0f} KiB with {found} records; checked in {median(checks):.0f} ms"
        figures.append(Figure(f"a certificate about {name}", median(times), "ms", None, spread(times), said))
    return figures


def _verified(path: Path, signer: NoteSigner) -> float:
    """CPU a record, on one core."""
    began = time.process_time()
    report = verify(Plan(partial(SqliteReader, path, Stored), signer.verifier, processes=1))
    if not report.ok:
        raise ValueError(f"the ledger does not verify: {report.faults[0].message}")
    return (time.process_time() - began) / report.size * 1e6
