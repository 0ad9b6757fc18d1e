"""How a request that is delivered ended, for its own caller: between the control process, which knows, and the workers, who are asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from router.delivery.fates import Fate, State
from router.errors import StateError
from router.ipc import Handler, Peer, RemoteError
from router.processes.messages import FATE

if TYPE_CHECKING:
    from router.wiring.fates import LedgerFates  # a worker has no ledger to read

PATIENCE_S = 5.0
UNAVAILABLE = "delivery_unknown_now"


class FateDesk:
    """The control process's side: nothing about anybody else's request leaves it."""

    def __init__(self, fates: LedgerFates) -> None:
        self._fates = fates

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {FATE: self._fate}

    async def _fate(self, payload: Any) -> dict[str, Any] | None:
        decision_id, key_id = payload
        found = await self._fates.fate(decision_id)
        return None if found is None or not key_id or found.key_id != key_id else asdict(found)


class RemoteFates:
    """A worker's side; implements `router.doors.following.Fates`."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def fate(self, decision_id: str, key_id: str) -> Fate | None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                found = await self._peer.call(FATE, [decision_id, key_id])
        except (RemoteError, TimeoutError) as error:
            raise StateError(f"how a delivery ended cannot be told: {error or 'no answer in time'}", UNAVAILABLE) from None
        return None if found is None else Fate(**{**found, "state": State(found["state"])})
