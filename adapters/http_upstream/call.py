"""One request through all its attempts."""

from __future__ import annotations

import asyncio

from adapters.http_upstream.body import Body
from adapters.http_upstream.retry import Failed
from adapters.http_upstream.upstream import Bounds, Upstream
from adapters.http_upstream.watch import Watch
from router.errors import DestinationError
from router.ports import Outbound


class Call:
    """`deadline` is on the event loop's clock, infinity without a total. `bound` is used for one wait at a time."""

    __slots__ = ("attempt", "body", "bound", "deadline", "idle", "outbound", "reached", "tried")

    def __init__(self, outbound: Outbound, bounds: Bounds, watch: Watch) -> None:
        self.outbound = outbound
        self.idle = bounds.idle
        self.deadline = asyncio.get_running_loop().time() + bounds.total
        self.bound = watch.bound(self.deadline)
        self.body = outbound.body if isinstance(outbound.body, bytes) else Body(outbound.body, self.idle, self.deadline)
        self.attempt = 0
        self.tried: frozenset[Upstream] = frozenset()
        self.reached: DestinationError | None = None

    def failed(self, cause: str, *, sent: bool, wait: float | None = None) -> Failed:
        replayable = isinstance(self.body, bytes) or not self.body.touched
        repeatable = replayable and (not sent or self.outbound.idempotent)
        return Failed(cause, self.attempt, repeatable, self.deadline - asyncio.get_running_loop().time(), wait)

    def tell(self, error: DestinationError) -> None:
        """Raises how an earlier attempt failed that may have reached an upstream, where the last one certainly did not: whoever takes that
        for a request that reached nobody would do it again."""
        if self.reached is not None and not error.sent:
            self.reached.attempts = error.attempts
            raise self.reached from error

    def over(self) -> None:
        """An upload that outlasts its response is not continued."""
        if isinstance(self.body, Body):
            self.body.abandoned = True
