"""A ledger, its keys and what may be done to them, over real files; `restarted` is what a start after a crash does."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.sqlite.index import SqliteIndex
from adapters.sqlite.place import SqlitePlace
from router.audit.governance.erasing import DestroyableKeys, Elsewhere, Erasing, Orders, SigningLedger, Who
from router.audit.governance.facts import Facts
from router.audit.governance.holding import Holding
from router.audit.journal import Checkpointing, Journal
from router.audit.keys.caching import CachedSubjectKeys
from router.audit.keys.files import LocalSigningKey
from router.audit.ledger import AuditLedger
from router.audit.questions.reader import Stored
from router.audit.records.record import decision_entry, outcome_entry
from router.audit.tree.checkpoint import NoteSigner
from router.decision import Decision
from router.errors import AuditError
from router.wiring.ledger_place import LedgerPlace
from tests.unit.audit.ledgers import SIGNER
from tests.unit.audit.samples import DECISION, OUTCOME, SUBJECT, numbered

T = TypeVar("T")
OFFICER = Who("olga@halden.example", "Data protection officer Olga Brandt", "DSR-2026-17")
SEALING_KEY = bytes(32)
DAY_NS = 86_400 * 10**9


@dataclass
class Clock:
    """Goes on by a second whenever it is asked."""

    now: int = DECISION.decided_ns + DAY_NS

    def now_ns(self) -> int:
        self.now += 10**9
        return self.now

    def monotonic_ns(self) -> int:
        return self.now


@dataclass
class Counted:
    numbers: Any = field(default_factory=lambda: itertools.count(1))

    def new(self) -> str:
        return f"019ab9d0-2222-7000-8000-{next(self.numbers):012x}"


@dataclass
class Noted:
    """The other processes and the held requests: what they were told."""

    told: list[str] = field(default_factory=list)

    async def forget_key(self, key_id: str) -> None:
        self.told.append(f"forget {key_id}")

    async def drop_held(self, key_id: str) -> None:
        self.told.append(f"drop {key_id}")

    def keys_until(self, until: float) -> None:
        """Nobody else is here to be told."""


class KeyElsewhere(LocalSigningKey):
    """Answers a little later, while it may; fails where it is told to."""

    remote = True

    def __init__(self) -> None:
        super().__init__(Ed25519PrivateKey.from_private_bytes(bytes(32)))
        self.going = threading.Event()
        self.going.set()
        self.failing = False
        self.asked = 0

    def sign(self, message: bytes) -> bytes:
        self.asked += 1
        time.sleep(0.003)
        self.going.wait(30)
        if self.failing:
            raise AuditError("The vault is sealed.", "audit_key_unreachable")
        return super().sign(message)


class Place:
    """One running owner of a folder. `ledger` and `keys` are the real ones, whatever `erasing` was given instead."""

    def __init__(self, folder: Path, clock: Clock, ids: Counted, at: LedgerPlace | None = None, signer: NoteSigner = SIGNER) -> None:
        self.folder = folder
        self.at = at or SqlitePlace(folder)
        self.clock = clock
        self.ids = ids
        self.around = Noted()
        self.journal = Journal(self.at.store(signer.verifier), Checkpointing(signer, folder / "checkpoints", 3600, 1000))
        self.ledger = AuditLedger(self.journal)
        self.keys = CachedSubjectKeys(self.at.keys(SEALING_KEY))
        self.keys.holders = self.around
        self._facts: Facts | None = None
        self.orders = self.orders_over(self.ledger, self.keys)
        self.erasing = Erasing(self.orders, self.around)
        self.holding = Holding(self.orders)

    def orders_over(self, ledger: SigningLedger, keys: DestroyableKeys) -> Orders:
        return Orders(ledger, keys, self.ask, self.clock, self.ids, self.at.turns())

    def erasing_over(self, ledger: SigningLedger, keys: DestroyableKeys, around: Elsewhere) -> Erasing:
        return Erasing(self.orders_over(ledger, keys), around)

    async def ask(self, question: Callable[[Facts], T]) -> T:
        return question(self.facts)

    @property
    def facts(self) -> Facts:
        if self._facts is None:
            self._facts = Facts(self.at.reader(Stored), SqliteIndex(self.folder / "index.sqlite"))
        return self._facts

    async def decide(self, *numbers: int, subject: str = SUBJECT.id, **changes: Any) -> list[Decision]:
        """Decisions about a subject, each with its outcome."""
        key_id, key = await self.keys.key_for(subject)
        made = [numbered(number, **changes) for number in numbers]
        for decision in made:
            await self.ledger.append(decision_entry(decision, b"{}", key_id, key))
            await self.ledger.append(outcome_entry(decision.id, OUTCOME, decision.decided_ns + 1, key_id, key))
        return made

    def leaves(self, *events: str) -> list[dict[str, Any]]:
        """The system records with one of these events."""
        found = [orjson.loads(stored.leaf) for stored in self.facts.reader.records(0, self.facts.reader.size())]
        return [leaf for leaf in found if leaf.get("event") in events]

    async def open(self) -> None:
        await self.ledger.open()
        await self.keys.open()

    async def close(self) -> None:
        if self._facts is not None:
            self._facts.reader.close()
            self._facts.index.close()  # type: ignore[attr-defined]  # the file's
        await self.ledger.close()
        await self.keys.close()


@asynccontextmanager
async def running(
    folder: Path,
    clock: Clock | None = None,
    ids: Counted | None = None,
    at: LedgerPlace | None = None,
    signer: NoteSigner = SIGNER,
) -> AsyncIterator[Place]:
    place = Place(folder, clock or Clock(), ids or Counted(), at, signer)
    await place.open()
    try:
        yield place
    finally:
        await place.close()
