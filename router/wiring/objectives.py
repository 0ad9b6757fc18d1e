"""Whether the objectives are met, in the control process: looked at in rounds, so that whoever asks gets what was found last and waits for
nothing. ADR 0071 says what is told from where."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Protocol

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from router.config.objectives import AuditLagObjective, ObjectivesConfig, PolicyAgeObjective
from router.control.services import Json
from router.errors import AuditError
from router.ports import Clock
from router.telemetry.names import METRICS
from router.telemetry.objectives import judging
from router.telemetry.objectives.history import Beside, Known, Tally
from router.telemetry.objectives.indicators import Growth, within
from router.telemetry.objectives.judging import Figure, Judged, Lasting
from router.telemetry.objectives.rules import ABSTENTION_S, ALERTS, POLICY_S, UNSIGNED_S, WAITING_S
from router.times import instant
from router.wiring.objective_keeping import Kept, new, read_kept, write_kept
from router.wiring.objective_ledger import LedgerCounts, refused
from router.wiring.objective_words import sentence

log = logging.getLogger("lockgate.objectives")
NS = 1_000_000_000
SAVE_EVERY_S = 300.0
STALE_S = 120.0
"""How long what the ledger said last is taken for current, where it cannot be read."""
COUNTING_S = 2.0
SIGNING_S = 120.0
"""After a quiet time the first record waits for its checkpoint a little, as it may."""
LEDGER, NODE = "ledger", "node"
UNKEPT, UNCOUNTED = "what was seen is not kept for the next start", "the ledger cannot be counted"


class Standing(Protocol):
    """What is now, of the ledger."""

    @property
    def waiting(self) -> int: ...

    @property
    def unsigned(self) -> int: ...

    @property
    def size(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Sources:
    """`workers` gives (index, indicators) of each; `refusals` those that are not recorded yet; `policy_age` seconds, None where nobody
    confirms policies; `counts` None where the ledger's index is not kept."""

    workers: Callable[[], Awaitable[Sequence[tuple[int, object]]]]
    ledger: Standing
    refusals: Callable[[], Mapping[str, int]]
    policy_age: Callable[[], float | None]
    counts: LedgerCounts | None


@dataclass(slots=True)
class _Lasting:
    """For how long limits have been passed, and since when the ledger has signed nothing."""

    waiting: Lasting = field(default_factory=Lasting)
    unsigned: Lasting = field(default_factory=Lasting)
    policy: Lasting = field(default_factory=Lasting)
    abstention: Lasting = field(default_factory=Lasting)
    stuck: Lasting = field(default_factory=Lasting)
    signed: int = -1


class Objectives:
    """`settings` are those that serve. Implements the control API's port."""

    def __init__(self, sources: Sources, settings: Callable[[], ObjectivesConfig | None], place: Path, clock: Clock) -> None:
        self._sources, self._settings, self._place, self._clock = sources, settings, place, clock
        self._thread = ThreadPoolExecutor(1, "objectives")
        self._growth, self._lasting = Growth(), _Lasting()
        self._kept: Kept | None = None
        self._saved = self._counted = 0.0
        self._counting: asyncio.Future[bool] | None = None
        self._anew = False
        self._found: dict[str, Any] | None = None
        self._said: dict[str, str] = {}

    def document(self) -> Json | None:
        """As of the last look; None where all are switched off."""
        settings = self._settings()
        if settings is None:
            return None
        found = self._found or {"at": None, "objectives": []}
        return {**found, "every_s": settings.every, "runbooks": settings.runbooks}

    async def keep(self) -> None:
        """For as long as it runs."""
        while True:
            settings = self._settings()
            if settings is None:
                self._forget()
            else:
                try:
                    await self.round(settings)
                except OSError as error:
                    self._say(UNKEPT, str(error))
                except Exception:  # the next look may get through
                    log.exception("looking at the objectives failed in a way that nobody foresaw")
            await asyncio.sleep(settings.every if settings is not None else 30.0)

    async def round(self, settings: ObjectivesConfig) -> None:
        """One look at everything, and what is to be said of it. Raises OSError where it cannot be kept."""
        now = self._clock.now_ns() / NS
        kept = self._kept
        if kept is None:
            kept = self._kept = new(now) if self._anew else await asyncio.to_thread(read_kept, self._place, now)
        kept.follow(settings, now)
        grown = self._growth.since_last({index: each for index, each in await self._sources.workers() if isinstance(each, dict)})
        if not self._anew:
            _take(kept, settings, grown, now)
        self._anew = False
        await self._count(now)
        found = self._judged(kept, settings, now)
        self._found = {"at": instant(int(now * NS)), "objectives": found}
        if now - self._saved >= SAVE_EVERY_S or now < self._saved:
            self._saved = now
            await asyncio.to_thread(write_kept, self._place, kept)
            self._said.pop(UNKEPT, None)

    def _forget(self) -> None:
        """What is switched off is not looked at, and once it is on again nobody knows what was meanwhile."""
        if self._kept is not None:
            self._kept, self._found, self._anew = None, None, True

    async def close(self) -> None:
        """What was seen is kept for the next start."""
        if self._kept is not None:
            try:
                await asyncio.to_thread(write_kept, self._place, self._kept)
            except OSError as error:
                log.error("what was seen of the objectives is not kept: %s", error)
        if self._sources.counts is not None:
            self._sources.counts.stopping.set()
            await asyncio.get_running_loop().run_in_executor(self._thread, self._sources.counts.close)
        self._thread.shutdown()

    def figures(self) -> Iterator[Metric]:
        """Of those that have a budget."""
        left, rates = _gauge("lockgate.objective.budget_left", "objective"), _gauge("lockgate.objective.burn_rate", "objective", "window")
        for each in (self._found or {}).get("objectives", ()) if self._settings() is not None else ():
            if each["budget_left"] is not None:
                left.add_metric([each["name"]], each["budget_left"])
            for window in each["windows"]:
                if window["burn_rate"] is not None:
                    rates.add_metric([each["name"], window["window"]], window["burn_rate"])
        yield from (left, rates)

    async def _count(self, now: float) -> None:
        """What the ledger has. Where it cannot be read, or takes long, what it said last is good for a while, and then what this node
        counted: nobody waits for months to be counted."""
        counts = self._sources.counts
        if counts is None:
            return
        if self._counting is None:
            self._counting = asyncio.get_running_loop().run_in_executor(self._thread, partial(counts.read, now))
        await asyncio.wait((self._counting,), timeout=COUNTING_S)
        if not self._counting.done():
            return
        counted, self._counting = self._counting, None
        try:
            self._counted = now if counted.result() else self._counted
            self._said.pop(UNCOUNTED, None)
        except AuditError as error:
            self._say(UNCOUNTED, str(error))

    def _judged(self, kept: Kept, settings: ObjectivesConfig, now: float) -> list[dict[str, Any]]:
        found = list[tuple[str, Judged, str, float]]()
        judged, ended, source = self._counts(kept, now)
        if settings.judged is not None:
            told = judging.judged_share(settings.judged.share, judged, now, "requests", "judged")
            found.append(("judged", told, source, judged.since))
        if settings.decisions is not None:
            told = judging.judged_share(settings.decisions.share, kept.decisions, now, "decisions", "durable in time")
            found.append(("decisions", told, NODE, kept.decisions.since))
        if settings.audit_lag is not None:
            found.append(("audit_lag", self._audit_lag(kept, settings.audit_lag, now), NODE, kept.audit_lag.since))
        if settings.policy_age is not None:
            found.append(("policy_age", self._policy_age(kept, settings.policy_age, now), NODE, kept.policy_age.since))
        if settings.abstention is not None:
            found.append(("abstention", self._abstention(ended, settings, now), source, ended.since))
        return [
            {
                "name": name,
                "sentence": sentence(name, settings),
                "source": where,
                "since": instant(int(since * NS)),
                "alerts": list(ALERTS[name]),
                **asdict(told),
            }
            for name, told, where, since in found
        ]

    def _counts(self, kept: Kept, now: float) -> tuple[Known, Known, str]:
        """Requests and those that were not judged; decisions and those without an intent; who counted them."""
        counts = self._sources.counts
        if counts is None or not self._counted or now - self._counted > STALE_S:
            return kept.judged, kept.ended, NODE
        return Beside(counts.judged, Tally(*refused(dict(self._sources.refusals()))), now), counts.ended, LEDGER

    def _audit_lag(self, kept: Kept, wanted: AuditLagObjective, now: float) -> Judged:
        ledger, lasting = self._sources.ledger, self._lasting
        signed, unsigned = ledger.size - ledger.unsigned, ledger.unsigned
        stuck = lasting.stuck.look(now, signed == lasting.signed)
        lasting.signed = signed
        silent = (stuck or 0.0) if unsigned else 0.0
        unsigned_for = lasting.unsigned.look(now, silent > wanted.unsigned)
        if unsigned_for is not None and unsigned_for < SIGNING_S:
            unsigned_for = None
        figures = {
            Figure("records waiting for their commit", ledger.waiting, wanted.waiting, ""): (
                lasting.waiting.look(now, ledger.waiting > wanted.waiting), WAITING_S,
            ),
            Figure("time without a checkpoint", silent, wanted.unsigned, "seconds"): (
                unsigned_for, UNSIGNED_S,
            ),
        }  # fmt: skip
        kept.audit_lag.add(now, 1, int(any(over is not None for over, _ in figures.values())))
        return judging.judged_limits(kept.audit_lag, now, figures)

    def _policy_age(self, kept: Kept, wanted: PolicyAgeObjective, now: float) -> Judged:
        age = self._sources.policy_age()
        over = self._lasting.policy.look(now, age is not None and age > wanted.most)
        if age is None:
            told = judging.judged_limits(kept.policy_age, now, {})
            return judging.without_data(told, "No source confirms policies: they are read from a folder.")
        kept.policy_age.add(now, 1, int(over is not None))
        return judging.judged_limits(
            kept.policy_age, now, {Figure("time since they were confirmed", age, wanted.most, "seconds"): (over, POLICY_S)}
        )

    def _abstention(self, ended: Known, settings: ObjectivesConfig, now: float) -> Judged:
        wanted = settings.abstention
        if wanted is None:
            raise ValueError("it is switched off")
        seen = judging.drift(ended, now)
        over = self._lasting.abstention.look(now, seen.moved(wanted.times, wanted.above, wanted.least))
        limit = max(wanted.above, wanted.times * (seen.before or 0.0))
        return judging.judged_drift(ended, now, limit, seen, over, ABSTENTION_S, wanted.least)

    def _say(self, what: str, problem: str) -> None:
        """Once, for it may go on for days."""
        if self._said.get(what) != problem:
            log.warning("of the objectives: %s: %s", what, problem)
        self._said[what] = problem


def _take(kept: Kept, settings: ObjectivesConfig, grown: Mapping[str, int], now: float) -> None:
    kept.judged.add(now, grown.get("requests", 0), grown.get("unjudged", 0))
    kept.ended.add(now, grown.get("ended", 0), grown.get("abstained", 0))
    if settings.decisions is not None:
        every = grown.get(within(inf), 0)
        kept.decisions.add(now, every, every - grown.get(within(settings.decisions.within), 0))


def _gauge(name: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name.replace(".", "_"), METRICS[name], labels=list(labels))
