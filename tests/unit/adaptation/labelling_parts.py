"""Labelling over stores in memory, of texts that are as asked for."""

from __future__ import annotations

from typing import Any

from router.adaptation.labelling import KIND, LabelService
from router.decision import Subject
from router.ports import Lesson
from tests.unit.adaptation.parts import DECISION, Learning

LEASE_S = 60.0
TASK = "f" * 32


class Labelling:
    def __init__(self, learning: Learning) -> None:
        self.learning = learning
        self.text: str | None = "stop it"
        self.opened: list[tuple[str, str]] = []
        self.service = LabelService(
            learning.keeping,
            learning.feedback,
            learning.keys,
            learning.clock,
            lambda: learning.intents,
            lambda: LEASE_S,
            self._open,
        )

    async def _open(self, task: Lesson, by: Subject) -> str | None:
        self.opened.append((task.id, by.id))
        return self.text

    async def sampled(self, wanted: int = 1, tenant: str | None = None, task_id: str = TASK) -> None:
        subject, _ = await self.learning.keys.key_for("anna")
        terms: dict[str, Any] = {
            "strategies": ["random"],
            "probability": "0.100000",
            "tenant": tenant,
            "subject": subject,
            "wanted": wanted,
            "classified": "cancel",
            "status": "classified",
            "claims": {},
            "answers": {},
            "skipped": [],
        }
        assert await self.learning.store.put(Lesson(KIND, task_id, DECISION, "open", 0, terms), [], "", 0)

    async def claimed(self, by: Subject, tenant: str | None = None) -> str | None:
        found = await self.service.claim(by, tenant)
        return None if found is None else found[0].id

    async def state(self) -> str:
        found = await self.learning.store.get(KIND, TASK)
        assert found is not None
        return found.state
