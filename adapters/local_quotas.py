"""Counts of requests by key, exact for all who ask this one process: never more than the limit within any span of the quota's length.

Each key's requests are counted in slots of a sixtieth of the span, and a slot leaves with its last request, not with its first: a place
comes free at most a sixtieth later than it might. So a key costs at most 62 small numbers, whatever its limit. Counts are in memory; who
restarts the process begins anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from router.errors import StateError
from router.ports import Clock, Quota

SECOND = 1_000_000_000
SLOTS = 60
TURNED_OVER = 8


class _Window:
    """`slots` are (number of the slot, requests in it), oldest first."""

    __slots__ = ("count", "slots", "width_ns")

    def __init__(self, width_ns: int) -> None:
        self.width_ns = width_ns
        self.slots: deque[list[int]] = deque()
        self.count = 0

    def forget(self, now_ns: int) -> None:
        oldest = now_ns // self.width_ns - SLOTS
        while self.slots and self.slots[0][0] < oldest:
            self.count -= self.slots.popleft()[1]

    def wait_ns(self, now_ns: int) -> int:
        """Until the oldest request has left."""
        return (self.slots[0][0] + SLOTS + 1) * self.width_ns - now_ns

    def add(self, now_ns: int) -> None:
        slot = now_ns // self.width_ns
        if self.slots and self.slots[-1][0] == slot:
            self.slots[-1][1] += 1
        else:
            self.slots.append([slot, 1])
        self.count += 1


class LocalQuotas:
    """`capacity` keys at most that count something; more are a StateError, for what is not counted is not limited."""

    def __init__(self, clock: Clock, capacity: int = 200_000) -> None:
        self._clock = clock
        self._capacity = capacity
        self._windows: dict[str, _Window] = {}  # ordered by last use

    async def take(self, wanted: Sequence[Quota]) -> tuple[int, float] | None:
        """See `ports.Quotas`."""
        now = self._clock.monotonic_ns()
        self._make_room(now)
        windows = {each.key: self._window(each, now) for each in wanted}  # the same quota asked for twice counts once
        over = [(windows[each.key].wait_ns(now), place) for place, each in enumerate(wanted) if windows[each.key].count >= each.limit]
        if over:
            wait_ns, place = max(over)
            return place, wait_ns / SECOND
        if len(self._windows) + sum(key not in self._windows for key in windows) > self._capacity:
            raise StateError("There are too many keys to count requests by.", "policy_rate_limit_unavailable")
        for key, window in windows.items():
            window.add(now)
            self._windows.pop(key, None)
            self._windows[key] = window
        return None

    def __len__(self) -> int:
        return len(self._windows)

    def _window(self, quota: Quota, now_ns: int) -> _Window:
        window = self._windows.get(quota.key)
        if window is None:  # its slots' width is rounded up: a span must not be counted short
            return _Window(-(-quota.seconds * SECOND // SLOTS))
        window.forget(now_ns)
        return window

    def _make_room(self, now_ns: int) -> None:
        """Drops keys that count nothing any more, a few at a time."""
        for key in _first(self._windows, TURNED_OVER):
            window = self._windows.pop(key)
            window.forget(now_ns)
            if window.count:
                self._windows[key] = window


def _first(windows: dict[str, _Window], most: int) -> list[str]:
    return [key for key, _ in zip(windows, range(most), strict=False)]
