"""Requests with an idempotency key, remembered where all workers of a node can be asked about together: by the control process."""

from __future__ import annotations

import asyncio
from typing import Any

from adapters.local_repeats import UNAVAILABLE, LocalRepeats
from router.errors import StateError
from router.ipc import Peer, RemoteError
from router.ports import Clock, Turn
from router.processes.messages import REPEAT_BEGIN, REPEAT_END, REPEAT_RELEASE

PATIENCE_S = 1.0


class RepeatDesk:
    """The control process's side."""

    def __init__(self, clock: Clock) -> None:
        self._repeats = LocalRepeats(clock)

    async def begin(self, payload: Any) -> list[Any]:
        turn, answer = await self._repeats.begin(*payload)
        return [turn.value, answer]

    async def end(self, payload: Any) -> None:
        await self._repeats.end(*payload)

    async def release(self, payload: Any) -> None:
        await self._repeats.release(*payload)


class RemoteRepeats:
    """A worker's side; implements `ports.Repeats`."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def begin(self, key: str, fingerprint: str, token: str, seconds: int) -> tuple[Turn, bytes]:
        turn, answer = await self._asked(REPEAT_BEGIN, key, fingerprint, token, seconds)
        return Turn(turn), bytes(answer)

    async def end(self, key: str, token: str, answer: bytes | None, seconds: int) -> None:
        await self._asked(REPEAT_END, key, token, answer, seconds)

    async def release(self, key: str, token: str) -> None:
        await self._asked(REPEAT_RELEASE, key, token)

    async def _asked(self, kind: str, *payload: Any) -> Any:
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._peer.call(kind, list(payload))
        except (RemoteError, TimeoutError) as error:
            raise StateError(f"repeated requests cannot be told: {error or 'no answer in time'}", UNAVAILABLE) from None
