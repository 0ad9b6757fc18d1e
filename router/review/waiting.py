"""Callers who wait for held requests to go on. However many there are, one question is open for all of them in this process, and now and
then one more that asks for the versions of all: for what another node did, and for changes that were missed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from router.errors import LockgateError
from router.review.given import Given
from router.review.standing import Standing

log = logging.getLogger("lockgate.reviews")
AGAIN_S = 1.0
ALONE_S, SHARED_S = 15.0, 1.0
MOST = 4096


class Feed(Protocol):
    """Raises ReviewError, AuditError where it does not answer."""

    async def changes(self, number: int | None, seconds: float) -> tuple[int, Sequence[str], bool]:
        """See `Changes.since`."""

    async def versions(self, review_ids: Sequence[str]) -> Mapping[str, int]: ...

    async def standing(self, review_id: str, key_id: str, tenant: str | None) -> Standing | None: ...

    async def answer(self, given: Given) -> bool:
        """Whether it was taken now, and not before. On record when it returns. Raises RefusedError, and ReviewError where nobody knows."""


class Waiter:
    """One caller's. `version` is the one that it has seen; 0 for none."""

    def __init__(self, waits: Waits, review_id: str) -> None:
        self._waits = waits
        self.review_id = review_id
        self.version = 0
        self.event = asyncio.Event()

    async def changed(self, until: float) -> bool:
        """Whether something changed since it was asked last, before the monotonic second `until`, or everybody is to stop waiting."""
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await self.event.wait()
        except TimeoutError:
            return False
        self.event.clear()
        return not self._waits.stopped

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._waits.leave(self)


class Waits:
    """`look_s`: how often the versions of all are asked for."""

    def __init__(self, feed: Feed, most: int = MOST) -> None:
        self.feed = feed
        self.most = most
        self._waiters: dict[str, set[Waiter]] = {}
        self._watching: asyncio.Task[None] | None = None
        self.look_s = ALONE_S
        self.stopped = False
        self.count = 0

    def begin(self, review_id: str) -> Waiter | None:
        """None where as many wait as may, and while everything stops. What changes from here on is not missed."""
        if self.stopped or self.count >= self.most:
            return None
        waiter = Waiter(self, review_id)
        self._waiters.setdefault(review_id, set()).add(waiter)
        self.count += 1
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        return waiter

    def leave(self, waiter: Waiter) -> None:
        waiters = self._waiters.get(waiter.review_id, set())
        if waiter in waiters:
            waiters.remove(waiter)
            self.count -= 1
        if not waiters:
            self._waiters.pop(waiter.review_id, None)

    def stop(self) -> None:
        """Whoever waits is answered with what is known."""
        self.stopped = True
        if self._watching is not None:
            self._watching.cancel()
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.event.set()

    async def _watch(self) -> None:
        """Ends with its question when nobody waits any more, and not before: callers who come and go would leave an open one each."""
        try:
            await self._watched()
        finally:
            self._watching = None

    async def _watched(self) -> None:
        number: int | None = None
        looked = 0.0
        while self._waiters:
            try:
                number, changed, lost = await self.feed.changes(number, self.look_s)
                for review_id in changed:
                    self._wake(review_id)
                if lost or time.monotonic() - looked >= self.look_s:
                    await self._look()
                    looked = time.monotonic()
            except LockgateError as error:
                log.warning("whether held requests changed is not known now: %s", error)
                number = None
                await asyncio.sleep(AGAIN_S)
            except Exception:  # whoever waits would wait in vain
                log.exception("watching held requests failed in a way that nobody foresaw")
                number = None
                await asyncio.sleep(AGAIN_S)

    async def _look(self) -> None:
        versions = await self.feed.versions(list(self._waiters))
        for review_id, version in versions.items():
            for waiter in self._waiters.get(review_id, ()):
                if waiter.version != version:
                    waiter.event.set()

    def _wake(self, review_id: str) -> None:
        for waiter in self._waiters.get(review_id, ()):
            waiter.event.set()
