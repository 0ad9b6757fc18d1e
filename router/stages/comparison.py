"""A second policy engine that judges a share of the live evaluations again: off the requests' way, bounded, and without effect.

Both are given the same document. Any difference in effect, status, reasons, obligations or route is counted, said in the log and recorded
in the ledger; the record is rate-bounded and carries how many there were since the last, so that two engines which always disagree fill
neither. Nothing personal is told: ids, effects, digests and the names of what differs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from router.config.opa import CompareConfig
from router.decision import Verdict
from router.errors import AuditError, ConfigError
from router.ports import Clock, Intents, PolicyEngine, PolicyObserver, Random
from router.stages.second import Sample, Second

log = logging.getLogger("lockgate.policy")
SAME, DIFFERENT, UNAVAILABLE, SKIPPED = "same", "different", "unavailable", "skipped"
RECORD_EVERY_S = 60.0
OPEN_EVERY_S = 10.0
# Where an engine gave no answer there is nothing to compare.
NO_ANSWER = frozenset(("policy_late", "policy_unavailable", "policy_unauthorized", "policy_circuit_open"))

Record = Callable[[Mapping[str, Any]], Awaitable[None]]


class Comparison:
    """Implements `pipeline.Comparing`. `open` before the first offer; one event loop. Raises nothing at who offers."""

    def __init__(
        self,
        engine: PolicyEngine,
        config: CompareConfig,
        random: Random,
        clock: Clock,
        record: Record,
        observer: PolicyObserver | None = None,
        record_every_s: float = RECORD_EVERY_S,
    ) -> None:
        self._engine = engine
        self._config = config
        self._random = random
        self._clock = clock
        self._record = record
        self._observer = observer
        self._every_s = record_every_s
        self._second = Second(engine, config.deadline, config.queue, self._compare, lambda: self._count(UNAVAILABLE))
        self._opening: asyncio.Task[None] | None = None
        self._recording: asyncio.Task[None] | None = None
        self._unrecorded: dict[str, Any] | None = None
        self._compared = self._different = 0

    async def open(self) -> None:
        """Waits for nobody: without the second engine everything goes on, uncompared."""
        self._opening = asyncio.create_task(self._serve())

    async def close(self) -> None:
        """What waits is not compared any more; what is known to differ and not recorded yet is recorded."""
        tasks = [task for task in (self._opening, self._recording) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, self._second.close(), return_exceptions=True)
        await self._write()
        await self._engine.close()

    def offer(self, decision_id: str, entry: str, intent: Intents, document: Mapping[str, Any], verdict: Verdict) -> None:
        if self._random.random() >= self._config.share:
            return
        if not self._second.put(Sample(decision_id, entry, intent, document, verdict)):
            self._count(SKIPPED)

    async def _serve(self) -> None:
        while True:
            try:
                await self._engine.open()
                break
            except ConfigError as error:
                log.warning("policy engines are not compared: %s", error)
            await asyncio.sleep(OPEN_EVERY_S)
        self._second.start(self._config.concurrency)

    def _compare(self, sample: Sample, second: Verdict) -> None:
        if unanswered(sample.verdict) or unanswered(second):
            self._count(UNAVAILABLE)
            return
        self._compared += 1
        differing = differences(sample.verdict, second)
        self._count(DIFFERENT if differing else SAME)
        if differing:
            self._tell(sample, second, differing)

    def _tell(self, sample: Sample, second: Verdict, differing: list[str]) -> None:
        self._different += 1
        first = sample.verdict
        log.error(
            "two policy engines differ in %s on decision %s (%s): %s says %s, %s says %s",
            ", ".join(differing),
            sample.decision_id,
            sample.entry,
            first.engine or "the first",
            first.effect.value,
            second.engine or "the second",
            second.effect.value,
        )
        if self._unrecorded is None:
            self._unrecorded = {
                "decision_id": sample.decision_id,
                "entry": sample.entry,
                "differing": differing,
                "effect": first.effect.value,
                "engine": first.engine,
                "digest": first.digest,
                "second_effect": second.effect.value,
                "second_engine": second.engine,
                "second_digest": second.digest,
            }
        if self._recording is None:
            self._recording = asyncio.create_task(self._keep_recording())

    async def _keep_recording(self) -> None:
        """The first at once, what comes in the time after it in one record at the end of that time."""
        while self._unrecorded is not None:
            await self._write()
            await asyncio.sleep(self._every_s)
        self._recording = None

    async def _write(self) -> None:
        """What the ledger does not take now goes with what it takes next."""
        if self._unrecorded is None:
            return
        details, different, compared = self._unrecorded, self._different, self._compared
        try:
            await self._record({**details, "different": different, "compared": compared})
        except AuditError as error:
            log.error("%d differences between the policy engines are not recorded yet: %s", different, error)
            return
        self._different -= different
        self._compared -= compared
        self._unrecorded = None

    def _count(self, result: str) -> None:
        if self._observer is not None:
            self._observer.policy_compared(result)


def differences(one: Verdict, other: Verdict) -> list[str]:
    """Names of what two verdicts differ in. Of failures only the kind counts: the sentence is each engine's own."""
    failed = not one.engine or not other.engine
    reasons = [[reason.code if failed else (reason.code, reason.message) for reason in each.reasons] for each in (one, other)]
    found = {
        "effect": one.effect is not other.effect,
        "status": one.status != other.status,
        "reasons": reasons[0] != reasons[1],
        "obligations": one.obligations != other.obligations,
        "route": one.reroute != other.reroute,
    }
    return [name for name, differs in found.items() if differs]


def unanswered(verdict: Verdict) -> bool:
    """A refusal of `judge` bears no engine."""
    return not verdict.engine and any(reason.code in NO_ANSWER for reason in verdict.reasons)
