"""A review desk over real files and a real HTTP upstream, and a process that approves with it, or goes on after a
crash, and kills itself at a given moment.

Run as `python -m tests.faults.review_desk FOLDER PORT DEDUPLICATES REVIEW MOMENT`. Moments are `before …` or `after …` one of
`step EVENT` (durable in the store), `record EVENT` (durable in the ledger), `mark EVENT` (the store knows that it is recorded), `send`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from adapters.http_destination import Config, build
from adapters.sqlite.ledger import SqliteStore
from adapters.sqlite.reviews import ReviewFile, SqliteReviews
from adapters.sqlite.subject_keys import KeyFile, SqliteSubjectKeys
from router.audit.journal import Checkpointing, Journal
from router.audit.ledger import AuditLedger
from router.ports import Change, Entry, Outbound, Reply
from router.review.dispatching import Way
from router.review.state import State
from router.system import SystemClock, SystemRandom
from tests.unit.audit.ledgers import SIGNER
from tests.unit.review.parts import Desk, told


class Death:
    """`at` is the moment of dying, as a machine dies that loses its power."""

    def __init__(self, at: str) -> None:
        self._at = at

    def here(self, moment: str) -> None:
        if moment == self._at:
            os.kill(os.getpid(), signal.SIGKILL)


class MortalStore(SqliteReviews):
    def __init__(self, file: ReviewFile, death: Death) -> None:
        super().__init__(file)
        self._death = death

    async def change(self, decision_id: str, version: int, change: Change, *, forget: bool = False, reply: bytes = b"") -> bool:
        self._death.here(f"before step {change.event}")
        done = await super().change(decision_id, version, change, forget=forget, reply=reply)
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
    death, clock = Death(dies), SystemClock()
    ledger = AuditLedger(Journal(SqliteStore(folder / "ledger.sqlite"), Checkpointing(SIGNER, folder / "checkpoints")))
    keys = SqliteSubjectKeys(KeyFile(folder / "keys.sqlite", bytes(32)))
    store = MortalStore(ReviewFile(folder / "reviews.sqlite"), death)
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


async def main(folder: str, port: str, deduplicates: str, review_id: str, dies: str) -> None:
    async with opened(Path(folder), int(port), deduplicates=deduplicates == "yes", dies=dies) as desk:
        review = await desk.store.get(review_id)
        if review is not None and review.state == State.PENDING:
            await desk.approve(review_id, comment="looks right")
        else:
            await desk.service.resume()
        await desk.settled()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
