"""Two versions of the policies at once: a worker's part of a rollout. Without one there is none of this on a request's way.

Each request is decided by one of the two, whole: admission and decision, under that version's digests. The other judges the same documents
afterwards, off the request's way and without effect.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from router.decision import Decision, Effect, Outcome, Request, Verdict
from router.pipeline import Comparing, Part, Pipeline, Stages
from router.ports import Intents, MakeBeside, PolicyEngine, Random, Settled
from router.rollout.figures import Figures, Times
from router.rollout.stage import Stage
from router.stages.comparison import differences
from router.stages.policy import judge
from router.stages.rules import Looked
from router.stages.second import Sample, Second
from router.stages.wrapping import Wrapping

QUEUE = 512
EAGER, RARELY = 100, 64
SHADOW_S = 1.0  # longest time for an evaluation that nobody waits for
FLIPS = frozenset(("effect", "status", "obligations", "route"))
STRICTNESS = {Effect.ALLOW: 0, Effect.REROUTE: 1, Effect.REVIEW: 2, Effect.DENY: 3}
NONE = "-"


class Counted(Wrapping):
    """An engine whose evaluations are counted."""

    def __init__(self, engine: PolicyEngine, times: Times) -> None:
        super().__init__(engine)
        self._times = times

    async def evaluate(self, entry: str, intent: Intents, document: Mapping[str, Any]) -> Verdict:
        failed = True
        try:
            verdict = await self._engine.evaluate(entry, intent, document)
            failed = False
            return verdict
        finally:  # a late one is cancelled
            self._times.judged(failed=failed)


class Stopwatch:
    """Asks both versions the same now and then, off the requests' way, and nothing of it is remembered: of two that remember their verdicts
    the one that was asked before would seem the faster. The first evaluations all, so that a slow candidate is soon known; then some."""

    def __init__(self, current: PolicyEngine, candidate: PolicyEngine, figures: Figures) -> None:
        self._asked = [(_afresh(current), figures.current), (_afresh(candidate), figures.candidate)]
        self._offered = 0

    async def offer(self, sample: Sample) -> None:
        self._offered += 1
        if self._offered > EAGER and self._offered % RARELY:
            return
        self._asked.reverse()  # so that neither always has the colder caches
        for engine, times in self._asked:
            began = time.perf_counter_ns()
            await judge(engine, sample.entry, sample.intent, sample.document, SHADOW_S if getattr(engine, "waits", True) else None)
            times.took(time.perf_counter_ns() - began)


def _afresh(engine: PolicyEngine) -> PolicyEngine:
    made = getattr(engine, "afresh", None)
    found: PolicyEngine = made() if made is not None else engine
    return found


class Shadow:
    """Implements `pipeline.Comparing` for the requests that one of the two decides: the other is asked. `first` says whether what decides
    is what is in force; `also` is compared with, too, as without a rollout."""

    def __init__(
        self,
        other: PolicyEngine,
        figures: Figures,
        share: float,
        random: Random,
        *,
        first: bool,
        also: Comparing | None = None,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        deadline_s = SHADOW_S if getattr(other, "waits", True) else None
        then = stopwatch.offer if stopwatch is not None else None
        self._second = Second(other, deadline_s, QUEUE, self._judged, self._lost, then)
        self._figures = figures
        self._share = share
        self._random = random
        self._first = first
        self._also = also
        self._chosen = False
        self._flipped = ""  # the decision that was counted last: what both of its entry points say counts once
        self._looser = ""

    def start(self) -> None:
        """One at a time, so that what belongs to one decision comes together."""
        self._second.start(1)

    @property
    def waiting(self) -> int:
        return self._second.waiting

    async def close(self) -> None:
        await self._second.close()

    def offer(self, decision_id: str, entry: str, intent: Intents, document: Mapping[str, Any], verdict: Verdict) -> None:
        """Admission comes first, and whether a request is compared is chosen then."""
        if self._also is not None:
            self._also.offer(decision_id, entry, intent, document, verdict)
        if entry == "admission":
            self._chosen = self._random.random() < self._share
            self._figures.decided += not self._first
        if self._chosen and not self._second.put(Sample(decision_id, entry, intent, document, verdict)):
            self._lost()

    def _lost(self) -> None:
        self._figures.skipped += 1

    def _judged(self, sample: Sample, second: Verdict) -> None:
        before, after = (sample.verdict, second) if self._first else (second, sample.verdict)
        figures = self._figures
        if not before.engine:  # what is in force gave no answer, so there is nothing that the candidate could change
            self._lost()
            return
        figures.compared += sample.entry == "admission"
        differing = differences(before, after)
        if not FLIPS.intersection(differing):
            figures.otherwise += bool(differing)
            return
        if self._flipped != sample.decision_id:
            self._flipped = sample.decision_id
            figures.flips += 1
            figures.flip(_intent(sample.intent), _what(before, after), _code(after) if _code(after) != NONE else _code(before))
        if self._looser != sample.decision_id and looser(before, after):
            self._looser = sample.decision_id
            figures.looser += 1


def looser(before: Verdict, after: Verdict) -> bool:
    """Whether less is asked for: a laxer effect, or the same without a duty that it had."""
    if before.effect is not after.effect:
        return STRICTNESS[after.effect] < STRICTNESS[before.effect]
    return any(duty not in after.obligations for duty in before.obligations)


def _what(before: Verdict, after: Verdict) -> str:
    if before.effect is not after.effect:
        return f"{before.effect.value} → {after.effect.value}"
    return f"{before.effect.value}: {', '.join(each for each in differences(before, after) if each in FLIPS)}"


def _intent(intent: Intents) -> str:
    return intent if isinstance(intent, str) else next(iter(intent or ()), NONE)


def _code(verdict: Verdict) -> str:
    return verdict.reasons[0].code if verdict.reasons else NONE


@dataclass(frozen=True, slots=True)
class Two:
    """Pipelines over the same parts, which judge by what is in force and by the candidate."""

    current: Pipeline
    candidate: Pipeline


class Rolling:
    """In place of the one pipeline, for as long as a rollout lasts. `shadows` of either, to be started and closed with it; `engine` is the
    candidate's."""

    def __init__(
        self, rollout: str, stage: Stage, two: Two, figures: Figures, shadows: tuple[Shadow, Shadow], engine: PolicyEngine
    ) -> None:
        self.rollout = rollout
        self.stage = stage
        self._two = two
        self._figures = figures
        self._shadows = shadows
        self._engine = engine
        self._closed = False

    @property
    def stages(self) -> Stages:
        """What both have in common can be asked of these."""
        return self._two.current.stages

    @property
    def waiting(self) -> int:
        """Evaluations that the other version was not asked about yet."""
        return sum(shadow.waiting for shadow in self._shadows)

    async def open(self) -> None:
        """Raises what the candidate's engine raises."""
        await self._engine.open()
        for shadow in self._shadows:
            shadow.start()

    async def close(self) -> None:
        """Once; the second time there is nothing left to do."""
        if not self._closed:
            self._closed = True
            await asyncio.gather(*(shadow.close() for shadow in self._shadows))
            await self._engine.close()

    async def decide(
        self,
        request: Request,
        looked: Looked | None = None,
        *,
        socket: bool = False,
        beside: MakeBeside | None = None,
        splits: bool = False,
        part: Part | None = None,
    ) -> Decision:
        """As `Pipeline.decide`."""
        chosen = self._two.candidate if self.stage.takes(self.rollout, request) else self._two.current
        return await chosen.decide(request, looked, socket=socket, beside=beside, splits=splits, part=part)

    async def ended(self, decision: Decision, outcome: Outcome, settled: Settled | None = None) -> None:
        await self._two.current.ended(decision, outcome, settled)

    def take(self) -> dict[str, Any]:
        """What was counted since the last time."""
        told = self._figures.to_json()
        self._figures.reset()
        return told
