"""Copies of requests to another destination, whose answers nobody sees. Never in a request's way: what does not fit is dropped and counted.

A copy carries what the upstream gets after masking and redaction, without the caller's credentials: it was not the copy's receiver that
they were given to. It is sent once, and never again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from router.errors import DestinationError
from router.ports import Destination, Outbound, Random

log = logging.getLogger("lockgate.mirror")
MOST_WAITING = 256
MOST_BYTES = 16 * 1024 * 1024  # of bodies that wait
AT_ONCE = 8
MOST_SECONDS = 10.0
CREDENTIALS = frozenset((b"authorization", b"cookie", b"proxy-authorization", b"idempotency-key", b"x-api-key"))
MARK = (b"x-lockgate-mirror", b"1")
SENT, FAILED, DROPPED = "sent", "failed", "dropped"


class Mirroring:
    """One event loop. `destinations` by name; `count` is told what became of each copy."""

    def __init__(self, destinations: Mapping[str, Destination], random: Random, count: Callable[[str], None]) -> None:
        self._destinations = destinations
        self._random = random
        self._count = count
        self._waiting: dict[asyncio.Task[None], int] = {}
        self._bytes = 0
        self._places = asyncio.Semaphore(AT_ONCE)

    def offer(self, name: str, share: int, outbound: Outbound) -> None:
        """Returns at once and raises nothing. `share` in percent; the body was read whole."""
        if self._random.random() * 100 >= share:
            return
        body = outbound.body
        destination = self._destinations.get(name)
        if destination is None or not isinstance(body, bytes) or not self._has_room(len(body)):
            self._count(DROPPED)
        else:
            self._start(destination, _copy(outbound), len(body))

    def _has_room(self, size: int) -> bool:
        return len(self._waiting) < MOST_WAITING and self._bytes + size <= MOST_BYTES

    def _start(self, destination: Destination, outbound: Outbound, size: int) -> None:
        task = asyncio.get_running_loop().create_task(self._send(destination, outbound))
        self._waiting[task] = size
        self._bytes += size
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._bytes -= self._waiting.pop(task)

    async def _send(self, destination: Destination, outbound: Outbound) -> None:
        try:
            async with self._places, asyncio.timeout(MOST_SECONDS):
                reply = await destination.send(outbound)
                try:
                    async for _ in reply.chunks():
                        pass
                finally:
                    await reply.close()
        except (DestinationError, TimeoutError):
            self._count(FAILED)
        except Exception:  # the request that was copied has long gone its own way
            log.exception("a copy failed in a way that nobody foresaw")
            self._count(FAILED)
        else:
            self._count(SENT)

    @property
    def under_way(self) -> frozenset[asyncio.Task[None]]:
        return frozenset(self._waiting)

    async def close(self) -> None:
        """What is under way is given up, and counted so."""
        tasks = self.under_way
        for task in tasks:
            task.cancel()
            self._count(DROPPED)
        await asyncio.gather(*tasks, return_exceptions=True)


def _copy(outbound: Outbound) -> Outbound:
    headers = [field for field in outbound.headers if field[0].lower() not in CREDENTIALS]
    headers.append(MARK)
    return replace(outbound, headers=headers, idempotent=False, idempotency_key=None)
