"""Upstreams that answer worse than the others may be left alone for a while. Decides only: the caller brings the time (seconds, monotonic).

What a circuit does not see: server errors of all kinds, also few among many good answers; that one which comes back is bad again; and that
somebody has to be left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OutlierLimits:
    """`consecutive` server errors, or a share of `failures` of at least `requests` within `interval`; `most` is the share of upstreams that
    may be out at once. An ejection lasts `ejection` times how often it happened lately, at most `longest`."""

    consecutive: int
    failures: float
    requests: int
    interval: float
    ejection: float
    longest: float
    most: float


class Standing:
    """How one upstream does."""

    __slots__ = ("failed", "news", "row", "seen", "times", "until")

    def __init__(self) -> None:
        self.seen = self.failed = self.row = self.times = 0
        self.news = False  # other nodes have not been told yet
        self.until = 0.0


class Outliers:
    """For the upstreams 0..n-1 of one destination."""

    __slots__ = ("_limits", "_most", "_next", "_standings")

    def __init__(self, count: int, limits: OutlierLimits) -> None:
        self._limits = limits
        self._most = min(int(count * limits.most), count - 1)  # of one alone nobody would be left
        self._standings = [Standing() for _ in range(count)]
        self._next = 0.0

    def out(self, index: int, now: float) -> bool:
        return now < self._standings[index].until

    def among(self, usable: Sequence[int], now: float) -> Sequence[int]:
        """Those that are in; all of them where none is, since that others are away makes nobody better."""
        if now >= self._next:
            self._begin(now)
        return [index for index in usable if now >= self._standings[index].until] or usable

    def note(self, index: int, failed: bool, now: float) -> float | None:
        """How long the upstream is out from now on, where this is why."""
        standing, limits = self._standings[index], self._limits
        if now >= self._next:
            self._begin(now)
        if now < standing.until:  # it was asked before it was out
            return None
        standing.seen += 1
        standing.row = standing.row + 1 if failed else 0
        standing.failed += failed
        if not failed or not self._is_bad(standing):
            return None
        if sum(now < each.until for each in self._standings) >= self._most:
            return None
        standing.times += 1
        lasts = min(limits.ejection * standing.times, limits.longest)
        standing.until = now + lasts
        standing.news = True
        standing.seen = standing.failed = standing.row = 0
        return lasts

    def news(self, index: int, now: float) -> float | None:
        """Once after each ejection: for how much longer it is out. What other nodes said is no news."""
        standing = self._standings[index]
        news, standing.news = standing.news, False
        return standing.until - now if news and standing.until > now else None

    def untold(self, index: int) -> None:
        """They could not be told; it is news still."""
        self._standings[index].news = True

    def hear(self, index: int, lasts: float, now: float) -> bool:
        """Another node has ejected it. False where it is out already, or too many are."""
        standing = self._standings[index]
        if now < standing.until or sum(now < each.until for each in self._standings) >= self._most:
            return False
        standing.until = now + min(lasts, self._limits.longest)
        standing.seen = standing.failed = standing.row = 0
        return True

    def _is_bad(self, standing: Standing) -> bool:
        limits = self._limits
        if standing.row >= limits.consecutive:
            return True
        return standing.seen >= limits.requests and standing.failed >= limits.failures * standing.seen

    def _begin(self, now: float) -> None:
        """Another interval: counts begin anew, and who was in all the time is forgiven one ejection."""
        self._next = now + self._limits.interval
        for each in self._standings:
            each.seen = each.failed = 0
            if now >= each.until + self._limits.interval and each.times > 0:
                each.times -= 1
