"""Learning over stores in memory, with decisions that are as asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from adapters.memory_ledger import MemoryLedger, MemorySubjectKeys
from adapters.memory_lessons import MemoryLessons
from router.adaptation.feedback import Decided, FeedbackService
from router.adaptation.keeping import Keeping
from router.decision import Subject
from tests.unit.identity.parts import HandClock

RITA = Subject("rita", "user", ("reviewer",))
RUBEN = Subject("ruben", "user", ("reviewer",))
ANNA = Subject("anna", "user", ("employee",))
DECISION = "0198c0de-0000-7000-8000-000000000001"


def leaf(intent: str | None = "cancel", status: str = "classified", confidence: str = "0.910000") -> dict[str, Any]:
    found = {"status": status, "intent": intent, "confidence": confidence, "tier": "encoder"}
    return {"classification": found, "catalog_digest": "c" * 64}


def said(verdict: str, intent: str = "", comment: str = "", reason: str = "looked_at") -> dict[str, str]:
    return {"verdict": verdict, "intent": intent, "comment": comment, "reason": reason}


@dataclass
class Trail:
    """`decisions` by id: (subject, leaf)."""

    keys: MemorySubjectKeys
    decisions: dict[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)

    async def decided(self, decision_id: str) -> Decided | None:
        if decision_id not in self.decisions:
            return None
        subject, found = self.decisions[decision_id]
        key_id, _ = await self.keys.key_for(subject)
        return Decided(decision_id, 7, key_id, found)


class Learning:
    def __init__(self) -> None:
        self.store, self.ledger, self.keys, self.clock = MemoryLessons(), MemoryLedger(), MemorySubjectKeys(), HandClock()
        self.trail = Trail(self.keys, {DECISION: ("anna", leaf())})
        self.keeping = Keeping(self.store, self.ledger, self.clock, "node one")
        self.intents = ["cancel", "pay", "ask"]
        self.feedback = FeedbackService(self.keeping, self.trail, self.keys, self.clock, lambda: self.intents)

    async def open(self) -> None:
        await self.store.open()
        await self.ledger.open()

    @property
    def leaves(self) -> list[dict[str, Any]]:
        return [orjson.loads(entry.leaf) for entry in self.ledger.entries]
