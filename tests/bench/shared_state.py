"""What it costs a decision that its two limits are on Redis, and not in the worker: CPU of the worker, and time that a caller waits; and
what it costs while Redis is gone. A decision by a rule with its record, on one core, against a real server on loopback."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from adapters.local_limits import LocalLimits
from adapters.redis_state.limits import RedisAllowances
from adapters.redis_state.state import RedisState
from router.audit.recorder import LedgerRecorder
from router.config.shared_state import RedisSettings
from router.decision import Request
from router.doors.runtime import Deciding
from router.identity.rate_limit import LimitRule, RateLimiter
from router.limiting import Limit, Limiting
from router.pipeline import Pipeline
from router.ports import Clock
from tests import redis_server
from tests.bench.parts import Parts
from tests.bench.report import Figure, Report, median, spread
from tests.bench.stages import Sample, scope
from tests.contract.redis_by_hand import Unheard

TURNS = 400
ROUNDS = 9
AT_ONCE = 16
PLENTY = 1e6


@dataclass(frozen=True, slots=True)
class Way:
    limiter: RateLimiter
    deciding: Deciding

    async def once(self, request: Request) -> None:
        if await self.limiter.admit(request.subject, request.client) is not None:
            raise AssertionError("the bench's limits are wide enough for all of its requests")
        await self.deciding.decide(request)


async def measure(report: Report, parts: Parts, key: str) -> None:
    sample = Sample(parts, scope("GET", "/payments/4711", key), b"")
    await sample.prepare()
    services = parts.services
    recorder = LedgerRecorder(services.ledger, services.keys, services.clock, services.ledger)
    deciding = Pipeline(sample.stages, recorder, services.clock, services.ids)
    with redis_server.running() as server:
        state = RedisState(RedisSettings(server=server.address, timeout="100ms"), Path(), Unheard())  # type: ignore[arg-type]
        await state.open()
        ways = {
            "local": Way(_limiter(services.clock, Limiting()), deciding),
            "redis": Way(_limiter(services.clock, Limiting(RedisAllowances(state))), deciding),
        }
        took: dict[str, list[float]] = {}
        try:
            for _ in range(ROUNDS):
                for name, way in ways.items():
                    await _round(took, name, way, sample.request)
            server.signal(signal.SIGKILL)
            while state.problem is None:  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.01)
            for _ in range(ROUNDS):
                await _round(took, "without", ways["local"], sample.request)
                await _round(took, "gone", ways["redis"], sample.request)
        finally:
            await state.close()
    _tell(report, took)


def _limiter(clock: Clock, limiting: Limiting) -> RateLimiter:
    rule = lambda name: Limit(name, PLENTY, PLENTY, LocalLimits(PLENTY, PLENTY, clock))  # noqa: E731  # one line, twice
    return RateLimiter([LimitRule("subject", rule("each")), LimitRule("tenant", rule("all"))], limiting)


async def _round(took: dict[str, list[float]], name: str, way: Way, request: Request) -> None:
    """CPU with several under way, as under load; time with one alone."""
    took.setdefault(f"cpu {name}", []).append(await _spent(way, request, AT_ONCE, time.process_time))
    took.setdefault(f"wait {name}", []).append(await _spent(way, request, 1, time.perf_counter))


async def _spent(way: Way, request: Request, at_once: int, clock: Callable[[], float]) -> float:
    """Microseconds a decision."""

    async def some() -> None:
        for _ in range(TURNS // at_once):
            await way.once(request)

    began = clock()
    await asyncio.gather(*(some() for _ in range(at_once)))
    return (clock() - began) / (TURNS // at_once * at_once) * 1e6


def _tell(report: Report, took: dict[str, list[float]]) -> None:
    figures = []
    for kind, said in (("cpu", "CPU of a decision"), ("wait", "a decision's time")):
        figures.append(Figure(f"{said}, limits in the worker", median(took[f"{kind} local"]), "µs", noise=spread(took[f"{kind} local"])))
        for name, base, more in (("redis", "local", "limits on Redis"), ("gone", "without", "Redis gone, local limits instead")):
            pairs = zip(took[f"{kind} {name}"], took[f"{kind} {base}"], strict=True)
            ratios = [one / other for one, other in pairs]
            figures.append(Figure(f"{more}, over that", median(ratios), "×", noise=spread(ratios)))
    report.section("Shared state: a decision under two limits, with its record", figures)
