"""How the routes stand among which policy may choose: what was promised of each, and how requests by it went just now.

Measured by each worker itself, over the last minute; told in coarse steps, so that a verdict is not asked for anew with every request.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from router.decision import Outcome, Result, Route
from router.ports import Clock

SLOT_NS, SLOTS = 5_000_000_000, 12
LEAST = 20  # requests, below which nothing is said of how they went
STEPS_AN_OCTAVE = 4  # of latency: a step is 19 %
FAILED = frozenset((500, 502, 503, 504))
Usable = Callable[[], bool | None]


@dataclass(frozen=True, slots=True)
class Offer:
    """What the catalog says of a route. `latency_s`: within which 95 of 100 requests are to be answered; `availability`: the share that is
    to be answered without a failure of the service. `usable`: whether its destination may be asked now, None where nobody knows."""

    destination: str
    cost: float | None = None
    latency_s: float | None = None
    availability: float | None = None
    usable: Usable = lambda: None


class _Slot:
    __slots__ = ("failed", "number", "requests", "steps")

    def __init__(self) -> None:
        self.reset(-1)

    def reset(self, number: int) -> None:
        self.number = number
        self.requests = self.failed = 0
        self.steps: dict[int, int] = {}


class Recent:
    """Requests by one route in the last minute. Of one thread."""

    def __init__(self) -> None:
        self._slots = [_Slot() for _ in range(SLOTS)]

    def note(self, now_ns: int, took_ns: int, *, failed: bool) -> None:
        number = now_ns // SLOT_NS
        slot = self._slots[number % SLOTS]
        if slot.number != number:
            slot.reset(number)
        slot.requests += 1
        slot.failed += failed
        step = _step(took_ns)
        slot.steps[step] = slot.steps.get(step, 0) + 1

    def told(self, now_ns: int) -> dict[str, Any] | None:
        """Share that failed, in hundredths, and the latency that 95 of 100 keep, rounded up to a step; None where too few are known."""
        oldest = now_ns // SLOT_NS - SLOTS
        slots = [slot for slot in self._slots if slot.number > oldest]
        requests = sum(slot.requests for slot in slots)
        if requests < LEAST:
            return None
        steps: dict[int, int] = {}
        for slot in slots:
            for step, count in slot.steps.items():
                steps[step] = steps.get(step, 0) + count
        failed = sum(slot.failed for slot in slots)
        return {"failed": math.ceil(failed / requests * 100) / 100, "latency_p95_ms": _ms(_at(steps, 0.95 * requests))}


def _step(took_ns: int) -> int:
    return math.ceil(math.log2(max(took_ns, 1000)) * STEPS_AN_OCTAVE)


def _ms(step: int) -> float:
    return float(f"{2 ** (step / STEPS_AN_OCTAVE) / 1e6:.2g}")


def _at(steps: Mapping[int, int], wanted: float) -> int:
    passed = 0
    for step in sorted(steps):
        passed += steps[step]
        if passed >= wanted:
            return step
    return max(steps)


class Standings:
    """By route. It outlives a configuration: a route of the same name goes on."""

    def __init__(self) -> None:
        self._recent: dict[str, Recent] = {}

    def note(self, route: str, now_ns: int, outcome: Outcome) -> None:
        """What was sent: a refusal, by us or by the service, and a caller who went away say nothing of how the route stands."""
        if outcome.result is not Result.ROUTED and (outcome.result is not Result.FAILED or outcome.status < 500):
            return
        failed = outcome.result is Result.FAILED or outcome.status in FAILED
        self._recent.setdefault(route, Recent()).note(now_ns, outcome.upstream_ns or outcome.total_ns, failed=failed)

    def recent(self, route: str, now_ns: int) -> dict[str, Any] | None:
        found = self._recent.get(route)
        return found.told(now_ns) if found is not None else None


class Alternatives:
    """`among`: the routes that policy may choose, by the one that a request would take."""

    def __init__(self, offers: Mapping[str, Offer], among: Mapping[str, tuple[str, ...]], standings: Standings, clock: Clock) -> None:
        self._offers = offers
        self._among = {route: (route, *others) for route, others in among.items() if others}
        self._watched = frozenset(name for names in self._among.values() for name in names)
        self._standings = standings
        self._clock = clock

    def note(self, route: Route | None, outcome: Outcome) -> None:
        if route is not None and route.name in self._watched:
            self._standings.note(route.name, self._clock.monotonic_ns(), outcome)

    def told(self, route: Route | None) -> dict[str, Any] | None:
        """For the policy input; None where there is nothing to choose."""
        names = self._among.get(route.name) if route is not None else None
        if names is None:
            return None
        now_ns = self._clock.monotonic_ns()
        return {name: self._one(name, self._offers[name], now_ns) for name in names}

    def _one(self, name: str, offer: Offer, now_ns: int) -> dict[str, Any]:
        return {
            "destination": offer.destination,
            "cost": offer.cost,
            "sla": {"latency_ms": None if offer.latency_s is None else offer.latency_s * 1000, "availability": offer.availability},
            "usable": offer.usable(),
            "recent": self._standings.recent(name, now_ns),
        }


class _NoChoice:
    """For catalogs without alternatives."""

    def note(self, route: Route | None, outcome: Outcome) -> None:
        pass

    def told(self, route: Route | None) -> dict[str, Any] | None:
        return None


NO_CHOICE = _NoChoice()
