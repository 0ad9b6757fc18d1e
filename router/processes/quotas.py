"""Policy's quotas, counted where all workers of a node can be counted together: by the control process.

Only a request on which policy puts a quota pays for the question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from adapters.local_quotas import LocalQuotas
from router.errors import StateError
from router.ipc import Peer, RemoteError
from router.ports import Clock, Quota
from router.processes.messages import QUOTA

PATIENCE_S = 1.0


class QuotaDesk:
    """The control process's side."""

    def __init__(self, clock: Clock) -> None:
        self._quotas = LocalQuotas(clock)

    async def take(self, payload: Any) -> list[Any] | None:
        """`payload`: a (key, limit, seconds) for each quota."""
        over = await self._quotas.take([Quota(*fields) for fields in payload])
        return None if over is None else list(over)


class RemoteQuotas:
    """A worker's side; implements `ports.Quotas`."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def take(self, wanted: Sequence[Quota]) -> tuple[int, float] | None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                over = await self._peer.call(QUOTA, [(each.key, each.limit, each.seconds) for each in wanted])
        except (RemoteError, TimeoutError) as error:
            raise StateError(f"requests cannot be counted: {error or 'no answer in time'}") from None
        return None if over is None else (int(over[0]), float(over[1]))
