"""Time-outs for many waits with one timer. `asyncio.timeout` makes and cancels a timer for every wait, which under uvloop was the largest
single cost of proxying a request; here a wait is an entry in a set that is looked through every `TICK` while it is not empty."""

from __future__ import annotations

import asyncio
from types import TracebackType

TICK = 0.02


class Bound:
    """`with watch.bound(until):` raises TimeoutError at most a tick after `until` (event loop's clock); moving `until` moves the end."""

    __slots__ = ("_cancelling", "_task", "_watch", "expired", "until")

    def __init__(self, watch: Watch, until: float) -> None:
        self._watch = watch
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self.until = until
        self.expired = False

    def __enter__(self) -> Bound:
        self._task = task = asyncio.current_task()
        if task is not None:
            self._cancelling = task.cancelling()
            self._watch.add(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._watch.remove(self)
        # As asyncio.timeout does: only our own cancellation becomes a time-out, one from outside stays what it is.
        if self.expired and self._task is not None and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        self.expired = True
        if self._task is not None:
            self._task.cancel()


class Watch:
    __slots__ = ("_bounds", "_timer")

    def __init__(self) -> None:
        self._bounds: set[Bound] = set()
        self._timer: asyncio.TimerHandle | None = None

    def bound(self, until: float) -> Bound:
        return Bound(self, until)

    def add(self, bound: Bound) -> None:
        self._bounds.add(bound)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)

    def remove(self, bound: Bound) -> None:
        self._bounds.discard(bound)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for bound in [bound for bound in self._bounds if bound.until <= now]:
            self._bounds.discard(bound)
            bound.expire()
        self._timer = loop.call_later(TICK, self._tick) if self._bounds else None
