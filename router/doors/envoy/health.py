"""`grpc.health.v1.Health`, for transports that do not bring it along."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from router.doors.envoy.framing import NOT_FOUND, StatusError
from router.doors.envoy.streams import Stream

HEALTH = "grpc.health.v1.Health"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
# On the wire `HealthCheckRequest` is a string in field 1, and `HealthCheckResponse` a number there.
Asked, Told = StringValue, Int32Value


class Health:
    """All of these services have the same health."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = frozenset(services)
        self._status = NOT_SERVING
        self._changed = asyncio.Event()

    def tell(self, status: int) -> None:
        self._status = status
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def check(self, stream: Stream) -> None:
        asked = await stream.read()
        if not isinstance(asked, Asked) or asked.value not in self._services:
            raise StatusError(NOT_FOUND, "there is no such service")
        await stream.write(Told(value=self._status))

    async def watch(self, stream: Stream) -> None:
        """Until whoever asked has heard enough."""
        asked = await stream.read()
        known = isinstance(asked, Asked) and asked.value in self._services
        while True:
            changed = self._changed
            await stream.write(Told(value=self._status if known else SERVICE_UNKNOWN))
            await changed.wait()
