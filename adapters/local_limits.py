"""Rate limits in this process's memory: the generic cell rate algorithm (ITU-T I.371), one integer a key."""

from __future__ import annotations

import math

from router.errors import ConfigError
from router.ports import Clock

SECOND = 1_000_000_000
TURNED_OVER = 8
SHARED = "\0shared"


class LocalLimits:
    """Admits at most `burst` at once and `rate` a second after that, each key by itself. The table is bounded: when it is full of keys
    that are all still in debt, new keys share one allowance, so that a flood of keys never buys more than the limit says.

    `rate` counts per second, `burst` is at least 1. A limit is per process: N workers admit up to N times as much.
    """

    def __init__(self, rate: float, burst: float, clock: Clock, capacity: int = 100_000) -> None:
        if not (rate > 0 and burst >= 1 and capacity >= 1 and math.isfinite(rate) and math.isfinite(burst)):
            raise ConfigError("limits: a rate must be above 0 and a burst at least 1.")
        # Rounding is always against the caller, so that many admissions never exceed the limit.
        self._cost_ns = math.ceil(SECOND / rate)
        self._tolerance_ns = math.floor(burst * self._cost_ns)
        self._clock = clock
        self._capacity = capacity
        # When each key will have paid its debt; a key that has is as good as absent. Ordered by last use.
        self._paid_at: dict[str, int] = {}

    async def admit(self, key: str, cost: float = 1.0) -> float | None:
        """See `ports.Limits`; infinity for a cost above the burst, which no waiting makes possible."""
        now = self._clock.monotonic_ns()
        paid_at = self._paid_at.pop(key, None)
        if paid_at is None:
            key = self._place(key, now)
            # A key that may have drawn on the shared allowance before starts with its debt.
            paid_at = self._paid_at.get(SHARED, now)
            self._paid_at.pop(key, None)
        after = max(paid_at, now) + math.ceil(cost * self._cost_ns)
        admitted = after - now <= self._tolerance_ns
        self._paid_at[key] = after if admitted else paid_at
        if admitted:
            return None
        return (after - now - self._tolerance_ns) / SECOND if after - max(paid_at, now) <= self._tolerance_ns else math.inf

    def __len__(self) -> int:
        return len(self._paid_at)

    def _place(self, key: str, now: int) -> str:
        """Makes room by dropping keys without debt, a few at a time."""
        for _ in range(TURNED_OVER):
            if len(self._paid_at) < self._capacity:
                break
            oldest = next(iter(self._paid_at))
            paid_at = self._paid_at.pop(oldest)
            if paid_at > now:
                self._paid_at[oldest] = paid_at
        return key if len(self._paid_at) < self._capacity else SHARED

    async def ping(self) -> None:
        """Memory always answers."""
