"""Whether to try again, and after how long. Decides only; time and randomness come from outside."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from router.ports import Headers, Random

BUCKETS = 10
LONGEST_WAIT_S = 30.0
"""Of a request that has no total time-out: what an upstream asks for says nothing of how long a caller may wait."""
CAUSES: Mapping[str, str] = {
    "connect_failed": "connect",
    "connect_timeout": "connect",
    "tls_failed": "connect",
    "upstream_reset": "reset",
    "502": "502",
    "503": "503",
    "504": "504",
}


class RetryBudget:
    """Over a sliding window at most `ratio` retries for each request, and `floor` retries in any case."""

    __slots__ = ("_floor", "_ratio", "_requests", "_retries", "_slot", "_tick")

    def __init__(self, ratio: float, floor: int, window: float = 10.0) -> None:
        self._ratio = ratio
        self._floor = floor
        self._slot = window / BUCKETS
        self._tick = 0
        self._requests = [0] * BUCKETS
        self._retries = [0] * BUCKETS

    def count(self, now: float) -> None:
        """A request (not a retry) starts at `now`, seconds, monotonic."""
        self._requests[self._bucket(now)] += 1

    def spend(self, now: float) -> bool:
        bucket = self._bucket(now)
        if sum(self._retries) >= self._floor + self._ratio * sum(self._requests):
            return False
        self._retries[bucket] += 1
        return True

    def _bucket(self, now: float) -> int:
        tick = int(now / self._slot)
        if tick != self._tick:
            for stale in range(max(self._tick + 1, tick - BUCKETS + 1), tick + 1):
                self._requests[stale % BUCKETS] = self._retries[stale % BUCKETS] = 0
            self._tick = tick
        return tick % BUCKETS


@dataclass(frozen=True, slots=True)
class Failed:
    """One attempt that went wrong. `cause` is a failure code or a status in digits; `wait` what `Retry-After` asked for, in seconds."""

    cause: str
    attempt: int
    repeatable: bool
    remaining: float
    wait: float | None = None


class RetryPolicy:
    __slots__ = ("_attempts", "_base", "_budget", "_causes", "_limit", "_random", "statuses")

    def __init__(self, attempts: int, causes: frozenset[str], budget: RetryBudget, base: float, limit: float, random: Random) -> None:
        self._attempts = attempts
        self._causes = causes
        self._budget = budget
        self._base = base
        self._limit = limit
        self._random = random
        self.statuses = frozenset(int(cause) for cause in causes if cause.isdigit()) if attempts > 1 else frozenset[int]()

    def delay(self, failed: Failed, now: float) -> float | None:
        """Seconds to wait before the next attempt; None when this failure is the answer. Spends budget when it says yes."""
        if failed.attempt >= self._attempts or not failed.repeatable or CAUSES.get(failed.cause) not in self._causes:
            return None
        backoff = min(self._limit, self._base * 2 ** (failed.attempt - 1)) * self._random.random()  # full jitter
        wait: float = backoff if failed.wait is None else max(backoff, failed.wait)
        if wait >= (LONGEST_WAIT_S if failed.remaining == math.inf else failed.remaining) or not self._budget.spend(now):
            return None
        return wait


def retry_after(headers: Headers, unix_now: float) -> float | None:
    """Seconds from `Retry-After` (RFC 9110 §10.2.3: delay or HTTP-date); None when absent or unreadable."""
    for name, value in headers:
        if name == b"retry-after":
            return _seconds(value.decode("latin-1").strip(), unix_now)
    return None


def _seconds(text: str, unix_now: float) -> float | None:
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        at: float = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, at - unix_now)
