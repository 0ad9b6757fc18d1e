"""When a rollout has seen enough: to go on, or to be taken back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from router.config.rollouts import RolloutGuards
from router.rollout.figures import Figures

SLOW = 0.95
NOTICED_NS = 1_000_000.0
LEAST_TIMED = 50


@dataclass(frozen=True, slots=True)
class Tripped:
    """By which guard, and in one sentence why."""

    reason: str
    sentence: str


def tripped(seen: Figures, guards: RolloutGuards, least: int) -> Tripped | None:
    """The first that does not hold. A share that `least` requests cannot keep any more has not to be waited for."""
    return next(_all(seen, guards, least), None)


def _all(seen: Figures, guards: RolloutGuards, least: int) -> Iterator[Tripped]:
    compared, judged = seen.compared, seen.candidate.evaluations
    if guards.errors is not None:
        usual = seen.current.failures / seen.current.evaluations if seen.current.evaluations else 0.0
        beyond = seen.candidate.failures - usual * judged
        if beyond > guards.errors * max(judged, least):
            yield Tripped(reason="guard_errors", sentence=f"{seen.candidate.failures} of the candidate's {judged} evaluations failed")
    if guards.looser is not None and seen.looser > guards.looser * max(compared, least):
        yield Tripped(reason="guard_looser", sentence=f"the candidate is laxer about {seen.looser} of {compared} requests")
    if guards.flips is not None and seen.flips > guards.flips * max(compared, least):
        yield Tripped(reason="guard_flips", sentence=f"{seen.flips} of {compared} requests would end differently")
    if guards.latency is not None and min(seen.candidate.timed, seen.current.timed) >= LEAST_TIMED:
        slow, before = seen.candidate.quantile_ns(SLOW), seen.current.quantile_ns(SLOW)
        if slow > NOTICED_NS and slow > guards.latency * before:
            told = f"95 % of the candidate's evaluations take up to {slow / 1e6:.2g} ms, and {before / 1e6:.2g} ms in force"
            yield Tripped(reason="guard_latency", sentence=told)


def enough(seen: Figures, least: int) -> bool:
    return seen.compared >= least
