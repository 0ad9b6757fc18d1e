"""A review desk over real files and a real HTTP upstream, and a process that approves with it, or goes on after a
crash, and kills itself at a given moment.

Moments are `before …` or `after …` one of `step EVENT` (durable in the store), `record EVENT` (durable in the ledger), `mark EVENT` (the
store knows that it is recorded), `send`.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from adapters.http_destination import Config, build
from adapters.kept_reviews import KeptReviews, ReviewCore
from adapters.postgres.connection import Server
from adapters.postgres.ledger import PostgresStore
from adapters.postgres.members import PostgresMembers
from adapters.postgres.reviews import ReviewTables
from adapters.postgres.subject_keys import PostgresKeys
from adapters.sqlite.ledger import SqliteStore
from adapters.sqlite.reviews import ReviewFile
from adapters.sqlite.subject_keys import KeyFile
from router.audit.journal import Checkpointing, Journal
from router.audit.keys.caching import CachedSubjectKeys
from router.audit.ledger import AuditLedger
from router.ports import Change, Entry, Outbound, Reply
from router.review.dispatching import Way
from router.review.state import State
from router.system import SystemClock, SystemRandom
from tests.unit.audit.ledgers import SIGNER
from tests.unit.review.parts import Desk, told

LEASE_S = 1.0


class Death:
    """`at` is the moment of dying, as a machine dies that loses its power."""

    def __init__(self, at: str) -> None:
        self._at = at

    def here(self, moment: str) -> None:
        if moment == self._at:
            os.kill(os.getpid(), signal.SIGKILL)


class MortalStore(KeptReviews):
    def __init__(self, core: ReviewCore, death: Death) -> None:
        super().__init__(core)
        self._death = death

    async def change(self, decision_id: str, version: int, change: Change, **kept: Any) -> bool:
        self._death.here(f"before step {change.event}")
        done = await super().change(decision_id, version, change, **kept)
        self._death.here(f"after step {change.event}")
        return done

    async def recorded(self, decision_id: str, number: int) -> None:
        review = await self.get(decision_id)
        event = review.history[number].event if review is not None else ""
        await super().recorded(decision_id, number)
        self._death.here(f"after mark {event}")


class MortalLedger:
    def __init__(self, ledger: AuditLedger, death: Death) -> None:
        self._ledger = ledger
        self._death = death

    async def append(self, entry: Entry) -> int:
        index = await self._ledger.append(entry)
        self._death.here(f"after record {told([entry])[0]}")
        return index

    async def ping(self) -> None:
        await self._ledger.ping()


class MortalDestination:
    def __init__(self, destination: Any, death: Death) -> None:
        self._destination = destination
        self._death = death

    async def send(self, outbound: Outbound) -> Reply:
        self._death.here("before send")
        reply: Reply = await self._destination.send(outbound)
        self._death.here("after send")
        return reply


@asynccontextmanager
async def opened(folder: Path, port: int, *, deduplicates: bool, dies: str = "never") -> AsyncIterator[Desk]:
    ledger = AuditLedger(Journal(SqliteStore(folder / "ledger.sqlite"), Checkpointing(SIGNER, folder / "checkpoints")))
    keys = CachedSubjectKeys(KeyFile(folder / "keys.sqlite", bytes(32)))
    async with _desk(ledger, keys, ReviewFile(folder / "reviews.sqlite"), port, deduplicates, dies) as desk:
        yield desk


@asynccontextmanager
async def joined(url: str, name: str, port: int, *, deduplicates: bool, dies: str = "never") -> AsyncIterator[Desk]:
    """One node of several, all in one database. It is taken for gone a second after it last said that it is there."""
    server = Server(url)
    ledger = AuditLedger(Journal(PostgresStore(server, SIGNER.verifier), Checkpointing(SIGNER)))
    keys = CachedSubjectKeys(PostgresKeys(server, bytes(32)))
    members = PostgresMembers(server, f"{name}-{os.getpid()}", name, LEASE_S, in_touch=0.2)
    await asyncio.to_thread(members.open, {})
    beating = asyncio.create_task(_beat(members))
    try:
        async with _desk(ledger, keys, ReviewTables(server, members), port, deduplicates, dies) as desk:
            yield desk
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        await asyncio.to_thread(members.close)


async def _beat(members: PostgresMembers) -> None:
    while True:
        await asyncio.sleep(LEASE_S / 5)
        await asyncio.to_thread(members.beat, {})


@asynccontextmanager
async def _desk(
    ledger: AuditLedger, keys: CachedSubjectKeys, core: ReviewCore, port: int, deduplicates: bool, dies: str
) -> AsyncIterator[Desk]:
    death, clock = Death(dies), SystemClock()
    store = MortalStore(core, death)
    settings = Config.model_validate({"upstreams": [{"url": f"http://127.0.0.1:{port}"}], "retries": {"attempts": 1}})
    bank = build(settings, name="bank", clock=clock, random=SystemRandom())
    parts: list[Any] = [ledger, keys, store, bank]
    for part in parts:
        await part.open()
    way = Way("bank", MortalDestination(bank, death), deduplicates)  # type: ignore[arg-type]  # of a destination, `send` is used
    desk = Desk(store, MortalLedger(ledger, death), keys, clock, way)
    yield desk
    await desk.service.close(5)
    for part in reversed(parts):
        await part.close()


async def _approve_or_go_on(folder: str, port: int, deduplicates: bool, review_id: str, dies: str) -> None:
    if folder.startswith("postgresql://"):
        made = joined(folder, "mortal", port, deduplicates=deduplicates, dies=dies)
    else:
        made = opened(Path(folder), port, deduplicates=deduplicates, dies=dies)
    async with made as desk:
        review = await desk.store.get(review_id)
        if review is not None and review.state == State.PENDING:
            await desk.approve(review_id, comment="looks right")
        else:
            await desk.service.resume()
        await desk.settled()


def approve_or_go_on(folder: str, port: int, deduplicates: bool, review_id: str, dies: str) -> None:
    """All that the process does. FOLDER may be a database's URL, where the desk is one node of several."""
    asyncio.run(_approve_or_go_on(folder, port, deduplicates, review_id, dies))
