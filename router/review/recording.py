"""Brings the records of steps that are durable in the store into the ledger: an outbox."""

from __future__ import annotations

import asyncio
import logging
import time

from router.errors import AuditError, ReviewError
from router.ports import HeldRequests, Ledger

log = logging.getLogger("lockgate.reviews")
ELSEWHERE_S = 5.0
LOOK_S = 0.05


class Recording:
    def __init__(self, store: HeldRequests, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger
        self._one_at_a_time = asyncio.Lock()

    async def of(self, decision_id: str) -> None:
        """Returns when every step of this review is in the ledger, and the ledger takes records. Raises AuditError, ReviewError."""
        await self._ledger.ping()
        await self._append(decision_id)
        deadline = time.monotonic() + ELSEWHERE_S
        while await self._store.elsewhere(decision_id):  # what another node appends it appends once
            if time.monotonic() > deadline:
                raise ReviewError("Another node has yet to record a step of this request.", "review_elsewhere")
            await asyncio.sleep(LOOK_S)
        await self._append(decision_id)  # that node may be gone since

    async def _append(self, decision_id: str) -> None:
        async with self._one_at_a_time:
            for found, number, change in await self._store.unrecorded():
                if found != decision_id:
                    continue
                # A crash, or an AuditError that hides a success, before the mark: the same bytes are appended once more.
                for entry in change.entries:
                    await self._ledger.append(entry)
                await self._store.recorded(found, number)

    async def everything(self) -> None:
        """A record that the ledger does not take stands in nobody else's way."""
        waiting = dict.fromkeys(decision_id for decision_id, _, _ in await self._store.unrecorded())
        for decision_id in waiting:
            try:
                await self.of(decision_id)
            except (AuditError, ReviewError) as error:
                log.error("steps of the held request %s are not recorded yet: %s", decision_id, error)
