"""What the control process does beside for events and deliveries: it forgets events after a while, tells how many deliveries wait, and
renames orders that are kept as they were told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from router.audit.beside import Pending
from router.audit.outbox import Outbox
from router.errors import AuditError
from router.ports import Clock

log = logging.getLogger("lockgate.audit")
LOOK_EVERY_S, FORGET_EVERY_S = 5.0, 300.0
NS = 1_000_000_000


class OutboxKeeping:
    """`remember`: seconds for which an event is known, as it is configured now. `lane` is what is kept of an order."""

    def __init__(self, outbox: Outbox, clock: Clock, remember: Callable[[], float], lane: Callable[[bytes], bytes]) -> None:
        self._outbox = outbox
        self._lane = lane
        self._clock = clock
        self._remember = remember
        self._pending = Pending(0, 0, 0)

    async def keep(self, look_every: float = LOOK_EVERY_S, forget_every: float = FORGET_EVERY_S) -> None:
        """Until it is cancelled. A store that does not answer is asked again."""
        forgotten_ns: int | None = None
        while True:
            now_ns = self._clock.monotonic_ns()
            try:
                self._pending = await self._outbox.pending()
                if forgotten_ns is None or now_ns - forgotten_ns >= forget_every * NS:
                    forgotten_ns = now_ns
                    await self._outbox.forget(self._clock.now_ns() - int(self._remember() * NS))
                    await self._outbox.rename_lanes(self._lane)  # a node of the release before may have gone on after our start
            except AuditError as error:
                log.warning("events and deliveries cannot be looked after yet: %s", error)
            await asyncio.sleep(look_every)

    def figures(self) -> Mapping[str, float]:
        """By metric; of every node the same where several share a ledger."""
        seen = self._pending
        age = (self._clock.now_ns() - seen.oldest_ns) / NS if seen.oldest_ns else 0.0
        return {
            "lockgate.deliveries.pending": seen.count,
            "lockgate.deliveries.age": max(0.0, age),
            "lockgate.deliveries.dead": seen.dead,
        }
