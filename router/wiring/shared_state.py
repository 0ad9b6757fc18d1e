"""What nodes share, from a workspace: a connection where one is configured, and the limits that draw on it."""

from __future__ import annotations

from typing import Protocol, cast

from pydantic import BaseModel

from adapters.local_limits import LocalLimits
from router.caller import By, ByIntent
from router.config.identity import RateLimit
from router.config.shared_state import OnFailure, RedisSettings
from router.identity.rate_limit import LimitRule, RateLimiter
from router.limiting import Limit, Limiting
from router.ports import (
    Allowances,
    AnswerObserver,
    CircuitBoard,
    Clock,
    Conversations,
    Marks,
    Quotas,
    Repeats,
    SharedAnswers,
    StateObserver,
    Tallies,
)
from router.registry import ADAPTERS
from router.stages.intent_limits import IntentLimitRule, IntentLimits
from router.wiring.quotas_either import EitherQuotas
from router.workspace import Workspace


class Observer(StateObserver, AnswerObserver, Protocol): ...


class Opened(Protocol):
    """What an adapter's module makes."""

    allowances: Allowances
    quotas: Quotas
    repeats: Repeats | None
    conversations: Conversations
    circuits: CircuitBoard
    answers: SharedAnswers | None
    tallies: Tallies
    endpoints: Marks

    @property
    def problem(self) -> str | None:
        """A code while requests are judged without it."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...


class SharedState:
    """`opened` is None where each node keeps for itself."""

    def __init__(self, settings: BaseModel | None = None, opened: Opened | None = None) -> None:
        self.settings = settings
        self._opened = opened

    @property
    def on_failure(self) -> OnFailure:
        return self.settings.on_failure if isinstance(self.settings, RedisSettings) else OnFailure()

    @property
    def problem(self) -> str:
        """Empty where all is well, or nothing is shared."""
        return (self._opened.problem or "") if self._opened is not None else ""

    def limiting(self) -> Limiting:
        shared = self._opened.allowances if self._opened is not None else None
        return Limiting(shared, deny=self.on_failure.limits == "deny")

    def quotas(self, own: Quotas | None) -> Quotas | None:
        """`own` are this node's."""
        if self._opened is None or own is None:
            return own
        return EitherQuotas(self._opened.quotas, own) if self.on_failure.quotas == "local" else self._opened.quotas

    def repeats(self, own: Repeats | None) -> Repeats | None:
        return self._opened.repeats if self._opened is not None else own

    def conversations(self, own: Conversations | None) -> Conversations | None:
        return self._opened.conversations if self._opened is not None else own

    @property
    def tallies(self) -> Tallies | None:
        return self._opened.tallies if self._opened is not None else None

    @property
    def endpoints(self) -> Marks | None:
        """Those that are gone."""
        return self._opened.endpoints if self._opened is not None else None

    @property
    def circuits(self) -> tuple[CircuitBoard, float] | None:
        """Where circuits are shared: by what, and how often it is asked (seconds)."""
        if self._opened is None or not isinstance(self.settings, RedisSettings) or self.settings.circuits is None:
            return None
        return self._opened.circuits, self.settings.circuits.interval

    def answers(self, tier: str) -> SharedAnswers | None:
        """None where this tier's are not shared."""
        if self._opened is None or not isinstance(self.settings, RedisSettings) or self.settings.classifications is None:
            return None
        return self._opened.answers if tier in self.settings.classifications.tiers else None

    async def close(self, keeping: SharedState | None = None) -> None:
        if self._opened is not None and (keeping is None or keeping is not self):
            await self._opened.close()


async def make_shared_state(workspace: Workspace, observer: Observer, before: SharedState | None = None) -> SharedState:
    """The former one where its settings stayed, connections and all. Raises ConfigError; a server that does not answer is none."""
    block, settings = workspace.config.shared_state, workspace.shared_state
    if before is not None and before.settings == settings:
        return before
    if block is None or settings is None:
        return SharedState()
    opened: Opened = ADAPTERS.load("shared state", block.adapter).build(settings, workspace.root, observer)
    await opened.open()
    return SharedState(settings, opened)


def rate_limiter(workspace: Workspace, limiting: Limiting, clock: Clock, workers: int) -> RateLimiter:
    rules = [each for each in workspace.config.limits if not each.of_intents]
    return RateLimiter([LimitRule(cast(By, each.by), _limit(each, clock, workers)) for each in rules], limiting)


def intent_limits(workspace: Workspace, limiting: Limiting, clock: Clock, workers: int) -> IntentLimits:
    rules = [each for each in workspace.config.limits if each.of_intents]
    made = [IntentLimitRule(cast(ByIntent, each.by), _limit(each, clock, workers), frozenset(each.intents)) for each in rules]
    return IntentLimits(made, limiting)


def _limit(rule: RateLimit, clock: Clock, workers: int) -> Limit:
    """Each worker keeps its own counts, so each gets its share of the rate: together they never admit more than the whole."""
    own = LocalLimits(rule.rate / workers, max(1.0, rule.burst / workers), clock)
    return Limit(rule.name, rule.rate, rule.burst, own)
