"""Conversations, kept where all workers of a node can ask for them: by the control process."""

from __future__ import annotations

import asyncio
from typing import Any

from adapters.local_conversations import LocalConversations
from router.errors import StateError
from router.ipc import Peer, RemoteError
from router.ports import Clock
from router.processes.messages import CONVERSATION_READ, CONVERSATION_WRITE

PATIENCE_S = 1.0


class ConversationDesk:
    """The control process's side."""

    def __init__(self, clock: Clock) -> None:
        self._conversations = LocalConversations(clock)

    async def read(self, key: Any) -> bytes | None:
        return await self._conversations.read(key)

    async def write(self, payload: Any) -> None:
        await self._conversations.write(*payload)


class RemoteConversations:
    """A worker's side; implements `ports.Conversations`."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def read(self, key: str) -> bytes | None:
        found = await self._asked(CONVERSATION_READ, key)
        return None if found is None else bytes(found)

    async def write(self, key: str, sealed: bytes, seconds: int) -> None:
        await self._asked(CONVERSATION_WRITE, [key, sealed, seconds])

    async def _asked(self, kind: str, payload: Any) -> Any:
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._peer.call(kind, payload)
        except (RemoteError, TimeoutError) as error:
            raise StateError(f"conversations cannot be told: {error or 'no answer in time'}") from None
