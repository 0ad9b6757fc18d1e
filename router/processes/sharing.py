"""How long a decision's record may wait for others to share its commit.

A commit costs two processes the same for one record as for twenty. With many requests at hand, some are about to be recorded, and a
commit for each makes all of them slower; where their records go together, so do the answers, and what follows from them. So records wait
while the event loop is still busy with others, for some milliseconds at most; with few requests at hand, or a loop that has nothing to
do, they go at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

FEWEST = 4  # requests at hand, from which on one waits for another
EACH_NS, LONGEST_NS = 500_000, 8_000_000  # for each that is at hand, and in all
EMPTY_NS = 30_000  # a turn of the event loop that takes no longer had nothing to do
TURNS = 24  # so many of those in a row, and the loop is idle; each costs less than a microsecond


class Sharing:
    """Calls `send` for the records that wait. `at_hand`: how many requests are under way. `clock`: nanoseconds."""

    def __init__(self, send: Callable[[], None], at_hand: Callable[[], int], clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._send = send
        self._at_hand = at_hand
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._until = self._last = self._empty = 0

    def begin(self) -> None:
        """A record is here; those that come before `send` is called go with it."""
        many = self._at_hand()
        if many < FEWEST:
            self._loop.call_soon(self._send)
            return
        self._last, self._empty = self._clock(), 0
        self._until = self._last + min(LONGEST_NS, many * EACH_NS)
        self._loop.call_soon(self._look)

    def _look(self) -> None:
        now = self._clock()
        self._empty = self._empty + 1 if now - self._last < EMPTY_NS else 0
        if self._empty >= TURNS or now >= self._until:
            self._send()
        else:
            self._last = now
            self._loop.call_soon(self._look)
