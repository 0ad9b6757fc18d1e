from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from adapters.memory_destination import Answer, MemoryDestination
from adapters.memory_ledger import MemoryLedger, MemorySubjectKeys
from adapters.memory_reviews import MemoryReviews
from router.ports import Outbound
from tests.unit.identity.parts import HandClock
from tests.unit.review.parts import Desk, way


class Bank:
    """What reached the upstream, and how it answers."""

    def __init__(self) -> None:
        self.got: list[Outbound] = []
        self.meanwhile: Callable[[], Awaitable[None]] | None = None
        self.answer: Answer | Exception = Answer(200, [(b"content-type", b"text/plain")], b"paid")

    async def handle(self, outbound: Outbound) -> Answer:
        self.got.append(outbound)
        if self.meanwhile is not None:
            await self.meanwhile()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def bank() -> Bank:
    return Bank()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def ledger() -> AsyncIterator[MemoryLedger]:
    made = MemoryLedger()
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def desk(bank: Bank, clock: HandClock, ledger: MemoryLedger) -> AsyncIterator[Desk]:
    store, destination = MemoryReviews(), MemoryDestination(bank.handle)
    await store.open()
    await destination.open()
    made = Desk(store, ledger, MemorySubjectKeys(), clock, way(destination))
    yield made
    await made.service.close(0)
    await destination.close()
    await store.close()
