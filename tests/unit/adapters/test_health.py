"""Health checks end when they are told to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from adapters.http_upstream.circuit import Circuit
from adapters.http_upstream.config import HealthConfig
from adapters.http_upstream.health import HealthChecks
from adapters.http_upstream.upstream import Bounds, Upstream
from router.ports import Headers


class Healthy:
    """A response that is there already."""

    status = 200
    headers: Headers = []  # noqa: RUF012 - never changed
    done = True

    async def read(self) -> bytes:
        return b""

    async def close(self) -> None: ...


class DeafClient:
    """As pyreqwest when a response and a cancellation meet: the response wins and the cancellation is gone."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def request(self, method: str, target: str, headers: Headers, body: bytes | AsyncIterator[bytes]) -> Healthy:
        self.asked.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return Healthy()

    async def close(self) -> None: ...


async def test_checks_stop_though_the_client_loses_the_cancellation():
    """`stop` returns, and nothing goes on asking the upstream."""
    client, bounds = DeafClient(), Bounds(1, 1, 1)
    upstream = Upstream("http://127.0.0.1:1", Circuit(5, 1), lambda _origin, _bounds: client)
    checks = HealthChecks([upstream], HealthConfig(path="/healthz", interval="1ms"), bounds)
    checks.start()
    await client.asked.wait()
    client.asked.clear()
    async with asyncio.timeout(30):
        await checks.stop()
    assert not client.asked.is_set()
