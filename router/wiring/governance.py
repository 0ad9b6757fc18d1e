"""Erasure, legal holds and retention over a state directory: in the control process, or on the command line while none runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from adapters.sqlite_index import SqliteIndex
from adapters.sqlite_reader import SqliteReader
from router.audit.erasing import DestroyableKeys, Elsewhere, Erasing, Orders, SigningLedger, Who
from router.audit.facts import Facts, Receipt
from router.audit.holding import Holding
from router.audit.reader import Stored
from router.audit.standing import Hold
from router.ports import Clock, Ids
from router.wiring.control import INDEX_FILE, LEDGER_FILE
from router.workspace import Workspace

T = TypeVar("T")
Json = dict[str, Any]


class Evidence(Protocol):
    @property
    def ledger(self) -> SigningLedger: ...

    @property
    def keys(self) -> DestroyableKeys: ...


class FactsThread:
    """Asks the files on one thread."""

    def __init__(self, workspace: Workspace) -> None:
        self._state = workspace.path(workspace.config.state)
        self._thread = ThreadPoolExecutor(1, "audit-facts")
        self._open: list[SqliteReader | SqliteIndex] = []
        self._facts: Facts | None = None

    async def __call__(self, question: Callable[[Facts], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: question(self._opened()))

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _opened(self) -> Facts:
        if self._facts is None:
            reader = SqliteReader(self._state / LEDGER_FILE, Stored)
            self._open.append(reader)
            index = SqliteIndex(self._state / INDEX_FILE)
            self._open.append(index)
            self._facts = Facts(reader, index)
        return self._facts

    def _close(self) -> None:
        for each in self._open:
            each.close()


class Governance:
    """Implements the control API's port. Raises AuditError, ReviewError."""

    def __init__(self, workspace: Workspace, evidence: Evidence, clock: Clock, ids: Ids, elsewhere: Elsewhere) -> None:
        self._facts = FactsThread(workspace)
        orders = Orders(evidence.ledger, evidence.keys, self._facts, clock, ids)
        self._erasing = Erasing(orders, elsewhere)
        self._holding = Holding(orders)

    async def finish(self) -> list[int]:
        """What a crash or an old copy of the keys left half done; before anybody is served."""
        return await self._erasing.finish()

    async def erase(self, subject: str, reason: str, who: Who) -> Json:
        return receipt_document(await self._erasing.erase(subject, reason, who))

    async def hold(self, on: str, target: str, who: Who) -> Json:
        return receipt_document(await self._holding.add(on, target, who))

    async def release(self, record: int, who: Who) -> Json:
        return receipt_document(await self._holding.release(record, who))

    async def holds(self) -> list[Json]:
        return [hold_document(hold) for hold in await self._holding.all()]

    async def close(self) -> None:
        await self._facts.close()


def receipt_document(receipt: Receipt) -> Json:
    return {
        "record": receipt.index,
        "leaf": receipt.leaf,
        "checkpoint": receipt.checkpoint,
        "inclusion": [step.hex() for step in receipt.inclusion],
    }


def hold_document(hold: Hold) -> Json:
    return {"record": hold.record, "on": "subject" if hold.on == "key_id" else hold.on, "target": hold.target, "since": hold.time}
