"""The decide door in the caller's own process, with everything it writes kept in memory: for the tests of services. It opens no socket,
starts no process, and nothing of it is durable."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from adapters.memory_ledger import MemoryLedger, MemorySubjectKeys
from adapters.memory_policy import MemoryPolicy
from adapters.memory_reviews import MemoryReviews
from router.audit.recorder import LedgerRecorder
from router.decision import Decision, Effect, Outcome, Subject, Verdict
from router.dispatch import Dispatcher
from router.doors.decide import DecideDoor
from router.doors.runtime import Runtime
from router.pipeline import Pipeline, Stages
from router.ports import Held, Outbound
from router.review.dispatching import Dispatching
from router.review.holding import Holding
from router.review.judge import Judge
from router.review.judging import Again
from router.review.packing import Content
from router.review.people import People
from router.review.recording import Recording
from router.review.service import ReviewService
from router.system import SystemClock, SystemRandom, UuidV7
from router.wiring.explaining import open_stages
from router.wiring.review_judge import make_judge
from router.wiring.runtime import descriptions, door_options
from router.wiring.terms import spans
from router.workspace import Workspace

SERVICE = Subject("service", "service", (), (), None, {}, "api_key")


@dataclass
class InProcess:
    """`service` is whom questions without a subject are about."""

    workspace: Workspace
    stages: Stages
    service: Subject = SERVICE
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    clock: SystemClock = field(default_factory=SystemClock)
    ids: UuidV7 = field(default_factory=UuidV7)
    reviews: ReviewService = field(init=False)
    door: DecideDoor = field(init=False)

    async def open(self) -> None:
        store, keys = MemoryReviews(), MemorySubjectKeys()
        await self.ledger.open()
        await store.open()
        self._keys, recording, people = keys, Recording(store, self.ledger), People(keys)
        judge = _AsHeld(make_judge(self.workspace, self.stages.policy, self.clock, lambda *_: True))
        dispatching = Dispatching(store, recording, people, self.clock, lambda *_: None, judge, lambda: self.workspace.config.review.send)
        self.reviews = ReviewService(store, self.ledger, people, self.clock, recording, dispatching, judge)
        self.door = DecideDoor(self._using, self.clock, self.ids, SystemRandom(), _Unwatched())
        self._runtime = self._made(self.stages)

    async def close(self) -> None:
        await self.reviews.close(0)
        await self.ledger.close()

    def judge_by(self, answers: Mapping[str, Any] | None) -> None:
        """A test double in the place of the workspace's policy, until it is called with None; everything else is as it was."""
        stages = self.stages
        self._runtime = self._made(stages if answers is None else replace(stages, policy=MemoryPolicy(answers)))

    def _made(self, stages: Stages) -> Runtime:
        caller = _Known(self)
        return Runtime(
            pipeline=Pipeline(stages, LedgerRecorder(self.ledger, self._keys, self.clock), self.clock, self.ids),
            dispatcher=Dispatcher({}, stages.signals.mask),
            authenticator=caller,
            decide_authenticator=caller,
            delegate_authenticator=caller,
            limiter=_Unlimited(),
            holder=Holding(self.reviews, self._keys, self.clock, spans(self.workspace.config.review)),
            options=replace(door_options(self.workspace), decide_addresses=None),
            descriptions=descriptions(self.workspace, stages.routing),
        )

    @contextmanager
    def _using(self) -> Iterator[Runtime]:
        yield self._runtime


@asynccontextmanager
async def in_process(workspace: Workspace) -> AsyncIterator[InProcess]:
    """Trains the model first if the workspace has none yet. Raises ConfigError, PolicyError."""
    async with open_stages(workspace) as stages:
        made = InProcess(workspace, stages)
        await made.open()
        try:
            yield made
        finally:
            await made.close()


@dataclass(frozen=True, slots=True)
class _Known:
    """Nobody asks from outside, so that there is nobody to be authenticated."""

    made: InProcess

    async def identify(self, headers: Any, now_ns: int, certificate: Any = None) -> Subject:
        return self.made.service


@dataclass(frozen=True, slots=True)
class _AsHeld:
    """Who may decide is the workspace's policy's to say; what was held under a test double is not judged again when the double is gone."""

    judge: Judge

    async def attempt(self, document: Mapping[str, Any]) -> Verdict:
        return await self.judge.attempt(document)

    async def again(self, held: Held, content: Content, *, outbound: Outbound | None = None, route: str | None = None) -> Again:
        if outbound is None and route is None:
            return Again(Verdict(Effect.REVIEW), held, content, same=True)
        return await self.judge.again(held, content, outbound=outbound, route=route)

    async def mask(self, text: str) -> str:
        return await self.judge.mask(text)


class _Unlimited:
    async def admit(self, subject: Subject, client: str) -> float | None:
        return None


class _Unwatched:
    def refused(self, code: str, status: int) -> None: ...

    def preflight(self) -> None: ...

    def ended(self, decision: Decision, outcome: Outcome | None) -> None: ...
