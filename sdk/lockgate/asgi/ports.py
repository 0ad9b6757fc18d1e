"""What the middleware asks of a client; `AsyncClient` is one, and the test fixture's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lockgate.client.asking import Question
from lockgate.client.evidence import Event, Receipt
from lockgate.client.values import Decision, Review


class Deciding(Protocol):
    async def ask(self, question: Question) -> Decision:
        """Raises NoDecision."""

    async def review(self, decision: Decision | str) -> Review:
        """Raises ReviewUnavailable."""


class Recording(Protocol):
    async def send(self, events: Sequence[Event]) -> tuple[Receipt, ...]:
        """Raises EvidenceRefused, EvidenceUnavailable."""
