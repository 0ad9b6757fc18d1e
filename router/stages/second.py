"""Evaluations that are put to a second policy engine: off the requests' way, in their order, and no more than may wait."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from router.decision import Verdict
from router.ports import Intents, PolicyEngine
from router.stages.policy import judge

log = logging.getLogger("lockgate.policy")


@dataclass(frozen=True, slots=True)
class Sample:
    """One evaluation, with the verdict that counted."""

    decision_id: str
    entry: str
    intent: Intents
    document: Mapping[str, Any]
    verdict: Verdict


class Second:
    """`judged` is told what the engine says, `lost` that a sample was not judged; `then` is done with it afterwards. One event loop."""

    def __init__(
        self,
        engine: PolicyEngine,
        deadline_s: float | None,
        queue: int,
        judged: Callable[[Sample, Verdict], None],
        lost: Callable[[], None],
        then: Callable[[Sample], Awaitable[None]] | None = None,
    ) -> None:
        self._engine = engine
        self._deadline_s = deadline_s
        self._judged = judged
        self._lost = lost
        self._then = then
        self._waiting: asyncio.Queue[Sample] = asyncio.Queue(queue)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, concurrency: int) -> None:
        """The engine is open."""
        self._tasks += [asyncio.create_task(self._work()) for _ in range(concurrency)]

    def put(self, sample: Sample) -> bool:
        """False where too many wait."""
        try:
            self._waiting.put_nowait(sample)
        except asyncio.QueueFull:
            return False
        return True

    @property
    def waiting(self) -> int:
        return self._waiting.qsize()

    async def close(self) -> None:
        """What waits is not judged any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            sample = await self._waiting.get()
            try:
                self._judged(sample, await judge(self._engine, sample.entry, sample.intent, sample.document, self._deadline_s))
                if self._then is not None:
                    await self._then(sample)
            except Exception:  # the next one is to be judged all the same
                log.exception("comparing verdicts failed in a way that nobody foresaw")
                self._lost()
