"""How a node stops: by one deadline, which is passed along. Each step has what is left of it, but for what those after it need, so that one
that hangs takes nothing from them. What is to be on record comes before courtesies, and these go beside each other."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass

log = logging.getLogger("lockgate.stop")
DRAIN_S = 25.0
"""How long requests under way may take before they are cut."""


@dataclass(frozen=True, slots=True)
class Step:
    """`seconds`: what it has, also where all before it took as long as they may. `after`: what those after it need."""

    seconds: float
    after: float = 0.0

    @property
    def whole(self) -> float:
        return self.seconds + self.after


EXIT = Step(1.0)  # of a process, when all is done

CLOSE = Step(1.0, EXIT.whole)  # a worker's connections, telemetry that is left
RECORD = Step(2.5, CLOSE.whole)  # how requests ended that were cut
GIVE_BACK = Step(1.0, RECORD.whole)  # deliveries and messages that are not done
DOORS = Step(DRAIN_S + 2.5, GIVE_BACK.whole)  # and Envoy's last decisions

GOODBYES = Step(2.0, EXIT.whole)  # to the other nodes
CHECKPOINT = Step(2.0, GOODBYES.whole)  # and the ledger is closed
LAST_RECORDS = Step(4.0, CHECKPOINT.whole)
DISPATCHES = Step(11.0, LAST_RECORDS.whole)  # of approved requests, and what is read for people
WORKERS = Step(DOORS.whole, DISPATCHES.whole)
LISTENERS = Step(12.0, WORKERS.whole)  # the control API, tiles, probes

STOP_S = LISTENERS.whole
"""From SIGTERM until the node has ended, whatever hangs: what Kubernetes and systemd must leave it."""


class Deadline:
    """Begins once, when it is told to or first needed. `until` is by `time.monotonic`, which is the same for all processes of a machine.
    `behind`: whether something was left behind, which may keep this process's threads for longer than anybody waits."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: float | None = None
        self.behind = False

    def begin(self, until: float | None = None) -> None:
        if self._until is None:
            self._until = time.monotonic() + self._seconds if until is None else until

    @property
    def until(self) -> float:
        self.begin()
        return self._until or 0.0

    def left(self, step: Step) -> float:
        return max(0.0, self.until - step.after - time.monotonic())

    async def within(self, step: Step, what: str, work: Awaitable[object], most: float = math.inf) -> bool:
        """Whether it ended in time, which is no more than `most` seconds. What did not is told, cancelled and left behind: threads that a
        database keeps waiting cannot be ended. Raises what `work` raises."""
        task = asyncio.ensure_future(work)
        await asyncio.wait((task,), timeout=min(most, self.left(step)))
        if task.done():
            await task
            return True
        self.behind = True
        log.error("this process stops, and waits no longer for %s", what)
        task.cancel()
        return False

    async def beside(self, step: Step, works: Mapping[str, Awaitable[object]]) -> None:
        """All of them at once. Raises the first fault, when every one has ended or had its time."""
        ended = await asyncio.gather(*(self.within(step, what, work) for what, work in works.items()), return_exceptions=True)
        for fault in ended:
            if isinstance(fault, BaseException):
                raise fault
