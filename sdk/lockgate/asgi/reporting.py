"""Says afterwards what became of requests, from a queue with an end. What cannot be said is lost loudly, never silently."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from lockgate.asgi.ports import Recording
from lockgate.client.errors import EvidenceRefused, EvidenceUnavailable
from lockgate.client.evidence import MOST, Event
from lockgate.client.values import Decision

log = logging.getLogger("lockgate.sdk")
Lost = Callable[[Event, str], None]
DONE, UNDECIDED = "io.lockgate.request.ended", "io.lockgate.request.undecided"


class Reporter:
    """`source` names this service in its evidence. At most `capacity` events wait. `lost` is told of each that will not be sent, with why;
    that is logged, too. It runs in asyncio, and ends with `close`, which the middleware calls when the application shuts down."""

    def __init__(
        self, client: Recording, source: str, *, capacity: int = 1000, pause: float = 1.0, grace: float = 5.0, lost: Lost | None = None
    ) -> None:
        self._client = client
        self._source = source
        self._capacity = capacity
        self._pause = pause
        self._grace = grace
        self._on_lost = lost
        self._waiting: deque[Event] = deque()
        self._something = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self.lost = 0
        self.sent = 0

    def ended(self, decision: Decision | None, status: int, method: str, *, complete: bool = True) -> None:
        """Returns at once. Without a decision it is work that nobody decided about, which the ledger shows as such."""
        phase = "completed" if complete and status < 500 else "failed"
        data: dict[str, Any] = {"method": method, "status": status}
        if decision is None:
            self.offer(Event(self._source, str(uuid4()), UNDECIDED, None, phase, data))
        else:
            self.offer(Event(self._source, f"{decision.id}/ended", DONE, decision.id, phase, data))

    def offer(self, event: Event) -> None:
        """Returns at once; any event of the service's own."""
        if self._closing or len(self._waiting) >= self._capacity:
            self._lose([event], "queue_closed" if self._closing else "queue_full")
            return
        self._waiting.append(event)
        self._something.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def close(self) -> None:
        """Sends what waits, for as long as `grace`; what is left then is lost."""
        self._closing = True
        self._something.set()
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=self._grace)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._lose(list(self._waiting), "shutdown")
        self._waiting.clear()

    async def _run(self) -> None:
        while True:
            while not self._waiting:
                if self._closing:
                    return
                self._something.clear()
                await self._something.wait()
            events = [self._waiting[place] for place in range(min(len(self._waiting), MOST))]
            if not await self._done(events):
                await asyncio.sleep(self._pause)

    async def _done(self, events: Sequence[Event]) -> bool:
        """Whether they are recorded, or lost for good, and wait no more. One that is refused takes no other with it."""
        try:
            await self._client.send(events)
        except EvidenceUnavailable as error:
            log.warning("%d events wait, since evidence cannot be recorded now: %s", len(self._waiting), error)
            return False
        except EvidenceRefused as error:
            if len(events) == 1:
                self._waiting.popleft()
                self._lose(events, error.code)
                return True
            for each in events:
                if not await self._done([each]):
                    return False
            return True
        except Exception:
            log.exception("sending evidence failed in a way that nobody foresaw")
            return False
        for _ in events:
            self._waiting.popleft()
        self.sent += len(events)
        return True

    def _lose(self, events: Sequence[Event], why: str) -> None:
        for event in events:
            self.lost += 1
            log.error("evidence %s of decision %s is lost: %s", event.id, event.decision, why)
            if self._on_lost is not None:
                self._on_lost(event, why)
