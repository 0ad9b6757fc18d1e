"""Active health checks: one background task per upstream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from adapters.http_upstream.client import HttpClient
from adapters.http_upstream.config import HealthConfig
from adapters.http_upstream.upstream import Bounds, Upstream
from router.errors import DestinationError

log = logging.getLogger("lockgate.destinations")


class Verdict:
    """Turns a row of checks into healthy or not: `unhealthy` failures in a row, `healthy` successes in a row."""

    __slots__ = ("_bad", "_good", "_run", "healthy")

    def __init__(self, unhealthy: int, healthy: int) -> None:
        self._bad = unhealthy
        self._good = healthy
        self._run = 0
        self.healthy = True

    def note(self, passed: bool) -> bool:
        if passed is self.healthy:
            self._run = 0
            return self.healthy
        self._run += 1
        if self._run >= (self._good if passed else self._bad):
            self.healthy = passed
            self._run = 0
        return self.healthy


class HealthChecks:
    """`start` is called by a destination's open; `stop` waits until no check runs any more and may be called at any time."""

    def __init__(self, upstreams: Sequence[Upstream], config: HealthConfig | None, bounds: Bounds) -> None:
        self._upstreams = upstreams
        self._config = config
        self._bounds = bounds
        self._tasks: list[asyncio.Task[None]] = []
        self._running = False

    def start(self) -> None:
        if self._config is not None and not self._tasks:
            self._running = True
            self._tasks = [asyncio.create_task(self._watch(upstream, self._config)) for upstream in self._upstreams]

    async def stop(self) -> None:
        tasks, self._tasks, self._running = self._tasks, [], False
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, upstream: Upstream, config: HealthConfig) -> None:
        verdict = Verdict(config.unhealthy, config.healthy)
        while True:
            passed = await passes(upstream.client(self._bounds), config)
            if not self._running:  # pyreqwest loses a cancellation that meets a response which has just arrived
                return
            upstream.healthy = verdict.note(passed)
            await asyncio.sleep(config.interval)


async def passes(client: HttpClient, config: HealthConfig) -> bool:
    try:
        async with asyncio.timeout(config.timeout):
            exchange = await client.request("GET", config.path, [(b"user-agent", b"lockgate-health"), (b"accept", b"*/*")], b"")
            try:
                while await exchange.read():
                    pass
            finally:
                await exchange.close()
    except (DestinationError, TimeoutError):
        return False
    except Exception:  # a check that ended its task would leave the upstream's health as it is for ever
        log.exception("a health check failed in a way that nobody foresaw")
        return False
    return exchange.status < 400
