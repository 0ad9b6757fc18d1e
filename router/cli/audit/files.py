"""An officer's orders on the files of a stopped Lockgate, under the ledger's lock."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from adapters.sqlite.connection import refuse_missing
from adapters.sqlite.place import LEDGER_FILE
from adapters.sqlite.reviews import ReviewFile, SqliteReviews
from router.audit.governance.erasing import Who
from router.audit.governance.facts import Facts
from router.audit.questions.reader import Stored
from router.cli.audit.sources import sources
from router.errors import AuditError, LockgateError
from router.processes.evidence import Evidence, open_evidence
from router.review.forgetting import forget_subject
from router.review.recording import Recording
from router.system import SystemClock, UuidV7
from router.wiring.governance import Governance, hold_document
from router.wiring.indexing import Indexing
from router.wiring.ledger_place import ledger_place
from router.wiring.nodes import REVIEWS_FILE
from router.workspace import Workspace, without_policies

Json = dict[str, Any]
T = TypeVar("T")


class Files:
    """Under the ledger's lock. In the records the one who orders is the operating system's user."""

    def __init__(self, config: Path) -> None:
        self._config = config

    def erase(self, subject: str, reason: str, authority: str, case: str) -> Json:
        return self._with(lambda governance: governance.erase(subject, reason, _who(authority, case)))

    def hold(self, on: str, target: str, authority: str, case: str) -> Json:
        return self._with(lambda governance: governance.hold(on, target, _who(authority, case)))

    def release(self, record: int, authority: str, case: str) -> Json:
        return self._with(lambda governance: governance.release(record, _who(authority, case)))

    def holds(self, on: str | None = None, target: str | None = None) -> list[Json]:
        """Read only, also beside a running Lockgate."""
        place = sources(None, self._config)
        with place.opened() as (reader, index):
            holds = list(Facts(reader, index).standing().holds.values())
        if on is not None and target is not None:
            column, wanted = ("key_id", place.key_id(target)) if on == "subject" else (on, target)
            holds = [hold for hold in holds if (hold.on, hold.target) == (column, wanted)]
        return [hold_document(hold) for hold in holds]

    def prune(self, authority: str) -> Json:
        return self._with(lambda governance: governance.prune(_who(authority, "")))

    def sign_index(self) -> Json:
        return asyncio.run(self._carried_out(_signed_index))

    def _with(self, order: Callable[[Governance], Awaitable[T]]) -> T:
        async def governed(workspace: Workspace, evidence: Evidence) -> T:
            async with _around(workspace, evidence) as governance:
                await governance.finish()
                return await order(governance)

        return asyncio.run(self._carried_out(governed))

    async def _carried_out(self, order: Callable[[Workspace, Evidence], Awaitable[T]]) -> T:
        try:
            async with _owned(self._config) as (workspace, evidence):
                return await order(workspace, evidence)
        except AuditError as error:
            if error.code != "audit_locked":
                raise
            told = "A running Lockgate owns this ledger. Give an API key with --key or LOCKGATE_KEY, so that it does this itself."
            raise LockgateError(told, error.code) from None


class _Stopped:
    """No workers run, so nobody else keeps a key in memory."""

    def __init__(self, store: SqliteReviews, evidence: Evidence) -> None:
        self._store = store
        self._evidence = evidence

    async def forget_key(self, key_id: str) -> None:
        return None

    async def drop_held(self, key_id: str) -> None:
        await forget_subject(self._store, Recording(self._store, self._evidence.ledger), self._evidence.clock, key_id)


@asynccontextmanager
async def _owned(config: Path) -> AsyncIterator[tuple[Workspace, Evidence]]:
    workspace = without_policies(config, os.environ)
    if workspace.config.audit.store.adapter != "sqlite":
        message = (
            "Nodes that share a ledger keep keys in memory: give an API key with --key or LOCKGATE_KEY, so that one of them does this."
        )
        raise AuditError(message, "audit_store_unsuited")
    ledger = workspace.path(workspace.config.state) / LEDGER_FILE
    refuse_missing(ledger)
    evidence = await open_evidence(workspace, SystemClock())
    try:
        yield workspace, evidence
    finally:
        await evidence.close()


@asynccontextmanager
async def _around(workspace: Workspace, evidence: Evidence) -> AsyncIterator[Governance]:
    store = SqliteReviews(ReviewFile(workspace.path(workspace.config.state) / REVIEWS_FILE))
    await store.open()
    governance = Governance(workspace, evidence, evidence.clock, UuidV7(), _Stopped(store, evidence))
    try:
        yield governance
    finally:
        await governance.close()
        await store.close()


async def _signed_index(workspace: Workspace, evidence: Evidence) -> Json:
    index, state = workspace.config.audit.index, workspace.path(workspace.config.state)
    open_reader = partial(ledger_place(workspace).reader, Stored)
    indexing = Indexing(open_reader, state, None if index is None else index.records, evidence.ledger, evidence.clock)
    try:
        return await indexing.sign()
    finally:
        await indexing.close()


def _who(authority: str, case: str) -> Who:
    return Who(f"cli:uid{os.getuid()}", authority, case)
