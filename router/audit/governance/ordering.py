"""Whose turn it is to give orders: one at a time, so that nothing is put on hold while it is destroyed, here and among several nodes.

Among nodes a turn has a number. It ends with the session that took it, of which the node may hear late; so every record of an order is
written only while the number is still the newest (`Journal.append`).
"""

from __future__ import annotations

import asyncio
from typing import Protocol


class NodeTurns(Protocol):
    """Blocks. Raises AuditError, `audit_orders_busy` where another node gives orders for too long."""

    def take(self) -> int:
        """The number of the turn that begins."""

    def leave(self) -> None: ...


class OneAtATime:
    """`async with` it. `number` is that of the turn among nodes, None where there are none."""

    def __init__(self, nodes: NodeTurns | None = None) -> None:
        self._here = asyncio.Lock()
        self._nodes = nodes
        self.number: int | None = None

    async def __aenter__(self) -> None:
        await self._here.acquire()
        try:
            if self._nodes is not None:
                self.number = await asyncio.to_thread(self._nodes.take)
        except BaseException:
            self._here.release()
            raise

    async def __aexit__(self, *_: object) -> None:
        try:
            if self._nodes is not None:
                self.number = None
                await asyncio.to_thread(self._nodes.leave)
        finally:
            self._here.release()
