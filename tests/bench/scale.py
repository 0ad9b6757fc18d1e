"""From measured figures to a million decisions a second: the tables of `docs/scale.md`, which a test holds to this. Nothing is loaded."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from rich.table import Table as Rich

from tests.bench.report import Report
from tests.bench.scale_model import Cell, Costs, Disk, Seen, Simulation

SEED = 20261128
Table = tuple[Sequence[str], Sequence[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Measured:
    """`section` of `python -m tests.bench` measures it; `there` is on which machine the value is from: README's, or a busier one."""

    value: float
    unit: str
    what: str
    section: str
    there: str


README, BUSY, SLOWER = "README's", "a busy one", "a slower one"
MEASURED: Mapping[str, Measured] = {
    "worker": Measured(
        440,
        "µs",
        "CPU of a worker for a decision by rule or cached text, 64 at once: 425 µs and the proxy's 101 µs, less the control process",
        "aiohttp",
        README,
    ),
    "turn": Measured(110, "µs", "what a turn of a worker costs beside it, from 1 and 64 at once", "aiohttp", BUSY),
    "more": Measured(1.32, "×", "CPU a decision where several workers share a machine: the upper end", "workers", README),
    "commit": Measured(260, "µs", "CPU of a commit, whatever is in it, from 1 and 256 at once", "ledger", BUSY),
    "record": Measured(20, "µs", "CPU of a record in it", "ledger", BUSY),
    "frame": Measured(10, "µs", "CPU of the control process for a frame of two records, while it is busy", "intake", BUSY),
    "woken": Measured(100, "µs", "the same, to wake it", "aiohttp", BUSY),
    "bandwidth": Measured(550, "MB/s", "what a disk takes, from 33,900 full records/s in batches of 1,024, less CPU", "size", README),
    "stall": Measured(448, "records", "of 3.8 kB between two commits in which SQLite copies its log", "stalls", BUSY),
    "index": Measured(
        23_800,
        "records/s",
        "records put into both indexes, for questions (25 µs) and signed (17 µs); half of a core does",
        "lookups",
        SLOWER,
    ),
    "sqlite": Measured(41_800, "records/s", "ledger on SQLite, 64 records a commit", "ledger", README),
    "postgres": Measured(9_000, "records/s", "ledger on PostgreSQL, 256 waiting, one node or several", "ledger", BUSY),
    "encoder": Measured(1_360, "µs", "CPU of a text never seen before: the bare forward of 1.1 ms, 1.24 ×", "encoder", README),
    "bytes": Measured(
        7.6, "kB", "a decision in the ledger's file: both records, sealed parts, tree; half GET, half with a text", "commits", BUSY
    ),
    "leaves": Measured(4.0, "kB", "what is left of it when sealed parts are pruned: the leaves", "commits", BUSY),
    "cosign": Measured(1.4, "ms", "CPU of a witness for a cosignature, 100 logs", "witness", BUSY),
    "cosign_more": Measured(2.3, "µs", "more for each further log: its whole state is written", "witness", BUSY),
}
DISKS = {f"{p50:g} / {p99:g} ms": Disk(p50, p99, MEASURED["bandwidth"].value) for p50, p99 in ((0.1, 0.5), (0.5, 3.0), (4.0, 20.0))}
MIDDLE = DISKS["0.5 / 3 ms"]
BUSY_DISK = Disk(0.7, 48.0, MEASURED["bandwidth"].value)  # of the machine with which the model is compared, by `ledger`
RATE, WORKERS, CONTROL_CORES = 8_000, 12, 2
CHECKPOINT = 100_000
SECONDS, SETTLED = 1.0, 0.25
PRICES = {"core": 0.04, "disk": 0.02, "network": 0.01}  # an hour of a core; a GB for a month; a GB carried
DAY = 86_400


def value(name: str) -> float:
    return MEASURED[name].value


def costs(more: float = 1.0, worker: float | None = None) -> Costs:
    """Half of a decision's work in a worker comes before its record, a quarter before and after its upstream: not measured, and of little
    weight."""
    spent = (value("worker") if worker is None else worker) * more
    return Costs(
        turn=value("turn") * more,
        steps=(spent / 2, spent / 4, spent / 4),
        frame=value("frame") - 2,
        framed=1,
        woken=value("woken"),
        commit=value("commit"),
        committed=value("record"),
    )


REFERENCE = Cell(costs(value("more")), MIDDLE, WORKERS, CHECKPOINT)


@cache
def cell(rate: float, disk: Disk = MIDDLE, checkpoint: int = CHECKPOINT, *, copies_log: bool = True) -> Seen:
    changed = replace(REFERENCE, disk=disk, checkpoint_records=checkpoint, copies_log=copies_log)
    return Simulation(changed, SEED).opened([(SECONDS, rate)])


def measured() -> Table:
    rows = [(each.what, f"{each.value:,g} {each.unit}", f"`{each.section}`", each.there) for each in MEASURED.values()]
    return ("what", "value", "section", "machine"), rows


ALONE = {1: 283, 16: 36, 64: 20, 256: 22}
"""Records at once: µs of CPU a record, measured on the busy machine by `ledger`."""


def writer() -> Table:
    rows = [(f"{many}", f"{spent} µs", f"{value('commit') / many + value('record'):.0f} µs") for many, spent in ALONE.items()]
    return ("records a commit", "CPU a record, measured", "by the two parameters"), rows


COMPARED = {1: (2.0, 369), 16: (31.4, 83), 64: (56.0, 77)}
"""Callers: (records a commit, µs of the control process a decision), measured by `commits`, quietly, on another machine of that speed."""


def compared() -> Table:
    """The model with that machine's worker and disk, against what was measured there."""
    rows = []
    for callers, (batch, control) in COMPARED.items():
        seen = Simulation(Cell(costs(worker=490), BUSY_DISK, 1), SEED).closed(callers, 3.0)
        spent = seen.control_s / len(seen.took) * 1e6
        rows.append((f"{callers}", f"{batch:g}", f"{seen.batch:.1f}", f"{control} µs", f"{spent:.0f} µs"))
    return ("callers at once", "records a commit, measured", "simulated", "control process a decision, measured", "simulated"), rows


def waits() -> Table:
    rows = []
    for rate in (4_000, RATE, 16_000):
        for name, disk in DISKS.items():
            seen = cell(rate, disk)
            variants = (seen, cell(rate, disk, 1000), cell(rate, disk, copies_log=False))
            told = [f"{each.wait(0.5, SETTLED):.1f} / {each.wait(0.99, SETTLED):.0f} ms" for each in variants]
            busy = f"{seen.control_s / SECONDS:.0%}", f"{seen.workers_s / SECONDS / WORKERS:.0%}"
            rows.append((f"{rate:,}", name, *told, f"{seen.batch:.0f}", *busy))
    head = ("decisions/s", "a sync, p50 / p99", "wait for the commit, p50 / p99", "checkpoints every 1,000 records", "log copied elsewhere")
    return (*head, "records a commit", "control process busy", "12 workers busy"), rows


def lost() -> Table:
    """A cell goes away after half a second; the others have its traffic. `spread` over all of them, or all of it to one."""
    rows = []
    for name, rate, factor in _losses():
        seen = Simulation(REFERENCE, SEED).opened([(0.5, rate), (1.5, rate * factor)])
        commit, whole = seen.wait(0.99, 0.75), seen.whole(0.99, 0.75)
        rows.append((name, f"{rate:,.0f}", f"{rate * factor:,.0f}", f"{_busy(rate * factor):.0%}", f"{commit:.0f} ms", f"{whole:.0f} ms"))
    return ("what is lost", "decisions/s a cell before", "after", "workers busy", "p99 of the commit", "p99 of a decision"), rows


def _losses() -> list[tuple[str, float, float]]:
    return [
        ("one of two", 5_000, 2.0),
        ("one of three", RATE * 2 / 3, 1.5),
        ("one of 14, spread over the others", RATE, 14 / 13),
        ("one of 126, spread over the others", RATE, 126 / 125),
        ("a third of 126, spread over the others", RATE, 1.5),
        ("one of 126, all of it to one neighbour", RATE, 2.0),
    ]


def _busy(rate: float) -> float:
    seen = cell(rate)
    return seen.workers_s / SECONDS / WORKERS


def sizes() -> Table:
    rows = []
    totals = (10_000, 100_000, 1_000_000)
    columns = [_sized(total) for total in totals]
    for place, name in enumerate(_NAMES):
        rows.append((name, *(column[place] for column in columns)))
    return ("decisions/s", *(f"{total:,}" for total in totals)), rows


_NAMES = (
    "records/s",
    "cells: that many at their rate, and one more",
    "cores of workers, and of control processes",
    "more cores where a fifth of the texts were never seen",
    "ledgers on SQLite, by the writer's measured rate alone",
    "ledgers on PostgreSQL, by the same",
    "cells, where the indexes are to keep up",
    "written to disks, twice as much with the write-ahead log",
    "kept a day",
    "kept for 180 days",
    "checkpoints/s at 100,000 records",
    "checkpoint files a cell and day at 1,000 records",
)


def cells_for(total: float) -> int:
    return math.ceil(total / RATE) + 1


def _sized(total: float) -> tuple[str, ...]:
    records, cells = 2 * total, cells_for(total)
    stored = total * value("bytes") * 1000
    fresh = total * 0.2 * value("encoder") * 1e-6 * value("more") / 0.5
    return (
        f"{records:,.0f}",
        f"{cells}",
        f"{cells * WORKERS:,} + {cells * CONTROL_CORES:,}",
        f"{fresh:,.0f}",
        f"{math.ceil(records / value('sqlite'))}",
        f"{math.ceil(records / value('postgres'))}",
        f"{math.ceil(records / (value('index') / 2)):,}",
        f"{stored / 1e6:,.0f} MB/s",
        f"{stored * DAY / 1e12:,.1f} TB",
        f"{stored * DAY * 180 / 1e15:,.2f} PB",
        f"{records / CHECKPOINT:,.1f}",
        f"{min(records, 2 * RATE) / 1000 * DAY:,.0f}",
    )


TENANTS, SKEWS = 10_000, (0.8, 1.0, 1.2)


def skew() -> Table:
    """Tenants by Zipf over the cells of a million decisions a second, each at its hash; then with the large ones split by subject, so that
    no part is more than a tenth of a cell, and each placed on the emptier of two."""
    rows = []
    for exponent in SKEWS:
        weights = [1 / rank**exponent for rank in range(1, TENANTS + 1)]
        total = sum(weights)
        loads = [weight / total * 1_000_000 for weight in weights]
        most = RATE * 0.1
        parts = [load / math.ceil(load / most) for load in loads for _ in range(math.ceil(load / most))]
        hashed, placed = _placed(loads, 1), _placed(parts, 2)
        rows.append(
            (
                f"{exponent:g}",
                f"{loads[0]:,.0f}/s",
                f"{loads[0] / RATE:.1f}",
                f"{sum(load > RATE for load in loads)}",
                f"{sum(load > most for load in loads)}",
                f"{hashed:.1f} ×",
                f"{placed:.2f} ×",
            )
        )
    head = ("Zipf exponent", "the largest tenant", "that is so many cells", "tenants above a cell", "tenants to split")
    return (*head, "fullest cell over the mean, by hash", "split and placed"), rows


def _placed(loads: Sequence[float], choices: int) -> float:
    chance, cells = random.Random(SEED), [0.0] * cells_for(1_000_000)
    for load in sorted(loads, reverse=True) if choices > 1 else loads:
        at = min((chance.randrange(len(cells)) for _ in range(choices)), key=cells.__getitem__)
        cells[at] += load
    return max(cells) / (sum(loads) / len(cells))


def witnesses() -> Table:
    """One witness that is shown every log's checkpoint once in `interval`, each at its own moment; two syncs and its CPU a cosignature."""
    rows = []
    for logs, interval in ((1, 1.0), (14, 1.0), (126, 1.0), (126, 10.0), (126, 60.0), (1_000, 60.0)):
        busy, p99 = _witnessed(logs, interval)
        late = f"{p99:,.0f} ms" if busy < 1 else "never catches up"
        rows.append((f"{logs:,}", f"{interval:g} s", f"{logs / interval:,.1f}", f"{busy:.0%}", late, _staleness(interval, p99, busy)))
    return ("logs", "a checkpoint each", "cosignatures/s", "witness busy", "p99 of a cosignature", "a record is witnessed within"), rows


def _staleness(interval: float, p99: float, busy: float) -> str:
    """Until the checkpoint, the pause between two rounds, the cosignature."""
    return f"{interval + 1 + p99 / 1000:.1f} s" if busy < 1 else "–"


def _witnessed(logs: int, interval: float) -> tuple[float, float]:
    chance, free, worked, taken = random.Random(SEED), 0.0, 0.0, list[float]()
    cpu = (value("cosign") + value("cosign_more") * max(0, logs - 100) / 1000) / 1000
    phases = [chance.uniform(0, interval) for _ in range(logs)]
    rounds = max(20, math.ceil(2_000 / logs))
    shown = sorted(phase + turn * interval + chance.uniform(0, 0.2) for phase in phases for turn in range(rounds))
    for at in shown:
        spent = cpu + MIDDLE.sync(chance) + MIDDLE.sync(chance)
        free, worked = max(free, at) + spent, worked + spent
        taken.append((free - at) * 1000)
    taken.sort()
    return worked / (rounds * interval), taken[int(len(taken) * 0.99)]


def cost() -> Table:
    """Of a million decisions, in the currency of the prices."""
    cells = cells_for(1_000_000)
    cores = cells * (WORKERS + CONTROL_CORES) / 3600  # for the second that a million takes
    stored, leaves = value("bytes"), value("leaves")
    rows = [("cores, as many as stand there", f"{cores:.2f} core-hours", f"{cores * PRICES['core']:.3f}")]
    for name, months in (("all of it for 30 days", 1), ("all of it for 6 months", 6), ("all of it for 7 years", 84)):
        rows.append((name, f"{stored:.1f} GB", f"{stored * months * PRICES['disk']:.2f}"))
    pruned = (stored + leaves * 83) * PRICES["disk"]
    rows.append(("sealed parts for 30 days, leaves for 7 years", f"{stored:.1f} GB, then {leaves:.1f} GB", f"{pruned:.2f}"))
    rows.append(("a second copy of the ledger, carried", f"{stored:.1f} GB", f"{stored * PRICES['network']:.2f}"))
    return ("a million decisions", "amount", "cost"), rows


TABLES = {
    "measured": measured,
    "writer": writer,
    "compared": compared,
    "waits": waits,
    "lost": lost,
    "sizes": sizes,
    "skew": skew,
    "witnesses": witnesses,
    "cost": cost,
}


def written(name: str) -> str:
    """As Markdown."""
    head, rows = TABLES[name]()
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def measure(report: Report) -> None:
    for name, table in TABLES.items():
        head, rows = table()
        shown = Rich(*head, title=name, title_justify="left", title_style="bold")
        for row in rows:
            shown.add_row(*row)
        report.console.print(shown, highlight=False)
        report.facts[f"scale {name}"] = [list(head), *(list(row) for row in rows)]


PAGE = Path(__file__).parents[2] / "docs" / "scale.md"


def filled(page: str) -> str:
    """With its tables as they are now."""
    for name in TABLES:
        mark, table = f"<!-- table: {name} -->\n", written(name)
        page = re.sub(re.escape(mark) + r"(?:\n(?:\|.*\n)+)?", lambda _: f"{mark}\n{table}\n", page)  # noqa: B023 - called at once
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
