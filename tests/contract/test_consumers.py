"""What every consumer promises, over the in-memory twin; each kind has a suite of its own over the real broker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from adapters.memory_consumer import MemoryConsumer, MemoryQueue
from tests.contract.consumer_promises import SOURCE_NAME, Aside, Promises, Yard


class TestMemory(Promises):
    @pytest.fixture
    async def yard(self) -> Yard:
        queue = MemoryQueue()

        async def put(content: bytes, fields: Mapping[str, str], key: str) -> None:
            queue.put(content, fields, key.encode())

        async def buried() -> Sequence[Aside]:
            return queue.buried

        async def kill() -> None:
            queue.away = True
            queue.tell()

        async def revive() -> None:
            queue.away = False

        return Yard(lambda: MemoryConsumer(SOURCE_NAME, queue), put, buried, kill, revive)
