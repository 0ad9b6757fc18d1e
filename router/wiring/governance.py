"""Erasure, legal holds and retention over a state directory: in the control process, or on the command line while none runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from adapters.sqlite.index import INDEX_FILE, SqliteIndex
from router.audit.governance.erasing import DestroyableKeys, Elsewhere, Erasing, Orders, SigningLedger, Who
from router.audit.governance.facts import Facts, Receipt
from router.audit.governance.holding import Holding
from router.audit.governance.pruning import Pruning, Summary
from router.audit.governance.retention import DAY_NS, SECOND_NS, Retention, RetentionClass
from router.audit.governance.standing import Hold
from router.audit.questions.reader import LedgerReader, Stored
from router.config.retention import RetentionConfig
from router.errors import AuditError, LockgateError
from router.ports import Clock, Ids
from router.settings import duration_text
from router.wiring.ledger_place import ledger_place
from router.workspace import Workspace

log = logging.getLogger("lockgate.audit")
T = TypeVar("T")
Json = dict[str, Any]
UP_EVERY_S = 60.0


class Evidence(Protocol):
    @property
    def ledger(self) -> SigningLedger: ...

    @property
    def keys(self) -> DestroyableKeys: ...


class FactsThread:
    """Asks the files on one thread."""

    def __init__(self, workspace: Workspace) -> None:
        self._state = workspace.path(workspace.config.state)
        self._place = ledger_place(workspace)
        self._thread = ThreadPoolExecutor(1, "audit-facts")
        self._open: list[LedgerReader | SqliteIndex] = []
        self._facts: Facts | None = None

    async def __call__(self, question: Callable[[Facts], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: question(self._opened()))

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _opened(self) -> Facts:
        if self._facts is None:
            reader = self._place.reader(Stored)
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
        orders = Orders(evidence.ledger, evidence.keys, self._facts, clock, ids, ledger_place(workspace).turns())
        self._erasing = Erasing(orders, elsewhere)
        self._holding = Holding(orders)
        settings = workspace.config.audit.retention
        self._every = None if settings is None else settings.every
        self._pruning = None if settings is None else Pruning(orders, retention(settings))

    @property
    def destroyed_again(self) -> int:
        """Keys that had come back, since this was made."""
        return self._erasing.destroyed_again

    async def finish(self) -> list[int]:
        """What a crash or an old copy of the keys left half done; before anybody is served."""
        return await self._erasing.finish()

    async def erase(self, subject: str, reason: str, who: Who) -> Json:
        return receipt_document(await self._erasing.erase(subject, reason, who))

    async def hold(self, on: str, target: str, who: Who) -> Json:
        return receipt_document(await self._holding.add(on, target, who))

    async def release(self, record: int, who: Who) -> Json:
        return receipt_document(await self._holding.release(record, who))

    async def holds(self, on: str | None = None, target: str | None = None) -> list[Json]:
        found = await (self._holding.all() if on is None or target is None else self._holding.on(on, target))
        return [hold_document(hold) for hold in found]

    async def prune(self, who: Who | None) -> Json:
        """Removes a bounded number of parts; `more` says that there are others. Raises AuditError `audit_retention_missing`."""
        if self._pruning is None:
            raise AuditError("The configuration has no audit.retention: nothing is pruned.", "audit_retention_missing")
        return summary_document(await self._pruning.prune(who))

    async def keep_up(self, every_s: float = UP_EVERY_S) -> None:
        """For as long as it runs: finishes what was ordered and could not be finished then. And the next start has to know what was
        ordered, and must not wait for the index of a week."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await self._facts(lambda facts: facts.standing())
                await self._erasing.carry_on()
            except LockgateError as error:
                log.error("what was ordered is not up to date: %s", error)
            except Exception:  # the next round may get through
                log.exception("keeping up with what was ordered failed in a way that nobody foresaw")

    async def keep_pruning(self) -> None:
        """For as long as it runs; at once, and then as often as configured. What fails is tried again the next time."""
        while self._every is not None:
            try:
                more = True
                while more:
                    more = (await self.prune(None))["more"]
            except LockgateError as error:
                log.error("pruning did not get through: %s", error)
            except Exception:  # the schedule must go on
                log.exception("pruning failed in a way that nobody foresaw")
            await asyncio.sleep(self._every)

    async def close(self) -> None:
        await self._facts.close()


def retention(settings: RetentionConfig) -> Retention:
    return Retention(
        tuple(
            RetentionClass(each.name, int(each.keep * SECOND_NS), each.kind, each.intent, each.risk, each.effect)
            for each in settings.classes
        )
    )


def summary_document(summary: Summary) -> Json:
    classes = [
        {
            "name": each.name,
            "keep": duration_text(each.keep_ns / SECOND_NS),
            "older_than": each.older_than,
            "parts": each.parts,
            "bytes": each.size,
            "held": each.held,
        }
        for each in summary.classes
    ]
    jumps = [{"record": jump.record, "days": round(jump.ns / DAY_NS)} for jump in summary.jumps]
    return {"classes": classes, "records": summary.records, "jumps": jumps, "more": summary.more}


def receipt_document(receipt: Receipt) -> Json:
    return {
        "record": receipt.index,
        "leaf": receipt.leaf,
        "checkpoint": receipt.checkpoint,
        "inclusion": [step.hex() for step in receipt.inclusion],
    }


def hold_document(hold: Hold) -> Json:
    return {"record": hold.record, "on": "subject" if hold.on == "key_id" else hold.on, "target": hold.target, "since": hold.time}
