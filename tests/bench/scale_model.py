"""A cell as a discrete-event simulation: workers that take all that is ready in a turn, frames of records, one interpreter that takes them
in and commits them, and a disk. It forms its batches as `router.audit.ledger`, `router.processes.remote` and `sharing` do; times are given
to it."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from router.audit.ledger import BATCH_RECORDS
from router.processes.remote import LINGER_S
from router.processes.sharing import EACH_NS, FEWEST, LONGEST_NS

US, MS = 1e-6, 1e-3
WAITING_AT_MOST = 8192
CHECKPOINT_SYNCS = 3  # the store's transaction, the note's file, its folder
LOG_BYTES = 512 * 4096  # `wal_autocheckpoint` of `adapters.sqlite.ledger`: then the writer copies its log into the file
LOG_SYNCS = 2  # the log, the file
PAGES = 1.23  # bytes of whole pages in the log for a byte of records: it was copied every 448 records of 3.8 kB
NORMAL_P99 = 2.326


@dataclass(frozen=True, slots=True)
class Disk:
    """How long a sync takes, lognormal by its median and 99th percentile, in milliseconds, and what it writes in one, in MB/s."""

    p50: float
    p99: float
    bandwidth: float

    def sync(self, chance: random.Random, written: float = 0.0) -> float:
        return written / self.bandwidth / 1e6 + self.p50 * MS * math.exp(chance.gauss(0.0, math.log(self.p99 / self.p50) / NORMAL_P99))


@dataclass(frozen=True, slots=True)
class Costs:
    """Microseconds of CPU: of a worker's turn, and of the three steps of a decision in it (to its record, to its dispatch, to its outcome);
    of a frame and a record in it for the control process' loop, and of waking it; of a commit and a record in it for its writer."""

    turn: float
    steps: tuple[float, float, float]
    frame: float
    framed: float
    woken: float
    commit: float
    committed: float


@dataclass(frozen=True, slots=True)
class Cell:
    costs: Costs
    disk: Disk
    workers: int
    checkpoint_records: int = 1000
    record_bytes: float = 3800.0
    upstream_ms: float = 1.0
    copies_log: bool = True


@dataclass(slots=True)
class Seen:
    """What came of it, in milliseconds, each with when it began. `waits` are from a record's leaving the worker to the answer that it is
    durable; `took` are whole decisions without their upstream."""

    seconds: float = 0.0
    waits: list[tuple[float, float]] = field(default_factory=list)
    took: list[tuple[float, float]] = field(default_factory=list)
    records: int = 0
    commits: int = 0
    checkpoints: int = 0
    refused: int = 0
    control_s: float = 0.0
    workers_s: float = 0.0

    @property
    def batch(self) -> float:
        return self.records / max(1, self.commits)

    def wait(self, share: float, since: float = 0.0) -> float:
        return _percentile(self.waits, share, since)

    def whole(self, share: float, since: float = 0.0) -> float:
        return _percentile(self.took, share, since)


def _percentile(seen: Sequence[tuple[float, float]], share: float, since: float) -> float:
    found = sorted(took for began, took in seen if began >= since)
    return found[min(len(found) - 1, int(len(found) * share))] if found else math.inf


@dataclass(slots=True)
class Asked:
    """A decision under way. `step` is what the worker does next with it."""

    began: float
    caller: int
    step: int = 0
    left: float = 0.0
    upstream: float = 0.0


class Simulation:
    """Callers come by themselves (`opened`), or each asks again when it has its answer (`closed`)."""

    def __init__(self, cell: Cell, seed: int) -> None:
        self._cell, self._chance = cell, random.Random(seed)
        self._events: list[tuple[float, int, Callable[..., None], tuple]] = []
        self._numbers = count()
        self._now = 0.0
        self._ready: list[list[Asked]] = [[] for _ in range(cell.workers)]
        self._turning = [False] * cell.workers
        self._outcomes = [0] * cell.workers
        self._at_hand = [0] * cell.workers
        self._held: list[list[Asked]] = [[] for _ in range(cell.workers)]
        self._due = [0.0] * cell.workers
        self._lingering = [0] * cell.workers  # counted up where a timer of outcomes that was set is void: by a frame, or a record
        self._jobs: list[tuple[int, Asked | None]] = []
        self._interpreter = 0.0
        self._writing = False
        self._unsigned = 0
        self._logged = 0.0
        self._again = False
        self.seen = Seen()

    def opened(self, rates: Sequence[tuple[float, float]]) -> Seen:
        """Poisson arrivals: (until when, how many a second)."""
        at = 0.0
        for until, rate in rates:
            at += self._chance.expovariate(rate)
            while at < until:
                self._at(at, self._arrive, 0)
                at += self._chance.expovariate(rate)
            at = until
        return self._run(at)

    def closed(self, callers: int, seconds: float) -> Seen:
        self._again = True
        for caller in range(callers):
            self._at(0.0, self._arrive, caller)
        return self._run(seconds)

    def _run(self, seconds: float) -> Seen:
        self.seen.seconds = seconds
        while self._events and self._events[0][0] < seconds:
            self._now, _, happens, what = heapq.heappop(self._events)
            happens(*what)
        return self.seen

    def _at(self, at: float, happens: Callable[..., None], *what: object) -> None:
        heapq.heappush(self._events, (at, next(self._numbers), happens, what))

    def _arrive(self, caller: int) -> None:
        """Connections stay where they were made: a caller's always with one worker, anybody's with any."""
        worker = caller % self._cell.workers if self._again else self._chance.randrange(self._cell.workers)
        self._at_hand[worker] += 1
        self._make_ready(worker, [Asked(self._now, caller)])

    def _make_ready(self, worker: int, asked: Sequence[Asked]) -> None:
        self._ready[worker] += asked
        if not self._turning[worker] and self._ready[worker]:
            self._turn(worker)

    def _turn(self, worker: int) -> None:
        """All that is ready; its records go when nothing more is, or have waited for long enough."""
        taken, self._ready[worker], self._turning[worker] = self._ready[worker], [], True
        costs = self._cell.costs
        spent = (costs.turn + sum(costs.steps[each.step] for each in taken)) * US
        self.seen.workers_s += spent
        self._at(self._now + spent, self._turned, worker, taken)

    def _turned(self, worker: int, taken: Sequence[Asked]) -> None:
        self._turning[worker] = False
        urgent = [each for each in taken if each.step == 0]
        for each in taken:
            if each.step == 1:
                each.upstream = self._chance.expovariate(1 / (self._cell.upstream_ms * MS))
                self._at(self._now + each.upstream, self._replied, worker, each)
            elif each.step == 2:
                self._ended(worker, each)
        if urgent and not self._held[worker]:
            many = self._at_hand[worker]
            self._lingering[worker] += 1
            self._due[worker] = self._now + (min(LONGEST_NS, many * EACH_NS) / 1e9 if many >= FEWEST else 0.0)
        self._held[worker] += urgent
        if self._held[worker] and (self._now >= self._due[worker] or not self._ready[worker]):
            held, self._held[worker] = self._held[worker], []
            self._send(worker, held)
        self._make_ready(worker, ())

    def _replied(self, worker: int, asked: Asked) -> None:
        asked.step = 2
        self._make_ready(worker, [asked])

    def _ended(self, worker: int, asked: Asked) -> None:
        """The outcome's record goes with the next urgent one, or after a while."""
        self.seen.took.append((asked.began, (self._now - asked.began - asked.upstream) / MS))
        self._at_hand[worker] -= 1
        self._outcomes[worker] += 1
        if self._outcomes[worker] == 1 and not self._held[worker]:
            self._at(self._now + LINGER_S, self._linger_over, worker, self._lingering[worker])
        if self._again:
            self._at(self._now, self._arrive, asked.caller)

    def _linger_over(self, worker: int, timer: int) -> None:
        if timer == self._lingering[worker] and self._outcomes[worker]:
            self._send(worker, ())

    def _send(self, worker: int, urgent: Sequence[Asked]) -> None:
        outcomes, self._outcomes[worker] = self._outcomes[worker], 0
        self._lingering[worker] += 1
        for each in urgent:
            each.left = self._now
        costs, idle = self._cell.costs, self._interpreter <= self._now and not self._writing
        self._worked(costs.frame + costs.framed * (len(urgent) + outcomes) + (costs.woken if idle else 0.0))
        self._at(self._interpreter, self._taken_in, worker, urgent, outcomes)

    def _worked(self, microseconds: float) -> None:
        """Loop and writer share one interpreter: who comes later waits."""
        self._interpreter = max(self._now, self._interpreter) + microseconds * US
        self.seen.control_s += microseconds * US

    def _taken_in(self, worker: int, urgent: Sequence[Asked], outcomes: int) -> None:
        if self._jobs and len(self._jobs) + len(urgent) + outcomes > WAITING_AT_MOST:
            self.seen.refused += len(urgent)
            return
        self._jobs += [(worker, each) for each in urgent] + [(worker, None)] * outcomes
        if not self._writing:
            self._write()

    def _write(self) -> None:
        """Everything that waits, up to the bound; a checkpoint comes after a commit, and before the next."""
        taken, self._jobs, self._writing = self._jobs[:BATCH_RECORDS], self._jobs[BATCH_RECORDS:], True
        costs = self._cell.costs
        self._worked(costs.commit + costs.committed * len(taken))
        written = len(taken) * self._cell.record_bytes * PAGES
        self._logged += written
        spent = self._cell.disk.sync(self._chance, written)
        if self._cell.copies_log and self._logged >= LOG_BYTES:  # within the same commit, which is answered afterwards
            spent += self._syncs(LOG_SYNCS) + self._logged / self._cell.disk.bandwidth / 1e6
            self._logged = 0.0
        self._at(self._interpreter + spent, self._written, taken)

    def _syncs(self, many: int) -> float:
        return sum(self._cell.disk.sync(self._chance) for _ in range(many))

    def _written(self, taken: Sequence[tuple[int, Asked | None]]) -> None:
        self.seen.commits += 1
        self.seen.records += len(taken)
        self._unsigned += len(taken)
        durable: dict[int, list[Asked]] = {}
        for worker, asked in taken:
            if asked is not None:
                asked.step = 1
                self.seen.waits.append((asked.left, (self._now - asked.left) / MS))
                durable.setdefault(worker, []).append(asked)
        for worker, ready in sorted(durable.items()):
            self._make_ready(worker, ready)
        if self._unsigned >= self._cell.checkpoint_records:
            self._unsigned = 0
            self.seen.checkpoints += 1
            self._worked(self._cell.costs.commit)
            self._at(self._interpreter + self._syncs(CHECKPOINT_SYNCS), self._go_on)
        else:
            self._go_on()

    def _go_on(self) -> None:
        self._writing = False
        if self._jobs:
            self._write()
