from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from adapters.memory_ledger import MemoryLedger, MemorySubjectKeys
from adapters.sqlite.api_keys import SqliteApiKeys
from router.audit.records.record import system_entry
from router.control.judging import Judge, TablePolicy
from router.errors import AuditError, IdentityError
from router.identity.key_service import KeyService
from router.wiring.tiles import Readers
from tests.unit.identity.parts import HandClock, new_key, open_keys


class Records:
    def __init__(self) -> None:
        self.ledger = MemoryLedger()

    async def system(self, event, details) -> None:
        await asyncio.sleep(0)
        await self.ledger.append(system_entry(event, 1, details))

    @property
    def written(self) -> list[dict]:
        return [orjson.loads(entry.leaf) for entry in self.ledger.entries]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def keys(tmp_path: Path, clock: HandClock) -> Iterator[SqliteApiKeys]:
    store = open_keys(tmp_path, clock)
    yield store
    store.close()


async def made(keys: SqliteApiKeys, clock: HandClock) -> tuple[Readers, Records]:
    records = Records()
    await records.ledger.open()
    return Readers(KeyService(keys, clock), MemorySubjectKeys(), records, clock, Judge(TablePolicy(), plain=True)), records


async def test_who_reads_is_recorded_when_they_come_and_once_an_hour(keys: SqliteApiKeys, clock: HandClock) -> None:
    """Not for each tile, or whoever follows the ledger would make it grow by that."""
    readers, records = await made(keys, clock)
    headers = [[(b"x-api-key", new_key(keys, "control:audit.read")[1])] for _ in range(2)]
    await asyncio.gather(*(readers.admit(headers[0]) for _ in range(3)))
    await readers.admit(headers[0])
    await readers.admit(headers[1])
    assert [(leaf["event"], leaf["details"]["what"]) for leaf in records.written] == [("audit_read", "tiles")] * 2
    clock.forward(3599)
    await readers.admit(headers[0])
    assert len(records.written) == 2
    clock.forward(1)
    await readers.admit(headers[0])
    assert len(records.written) == 3
    assert "alice" not in str(records.written)


@pytest.mark.parametrize(
    ("scopes", "code"), [(("gateway",), "permission_missing"), (("control",), "permission_missing"), (None, "credential_missing")]
)
async def test_only_who_may_read_the_trail_is_admitted(
    keys: SqliteApiKeys, clock: HandClock, scopes: tuple[str, ...] | None, code: str
) -> None:
    """And who is not is no reader."""
    readers, records = await made(keys, clock)
    headers = [] if scopes is None else [(b"x-api-key", new_key(keys, *scopes)[1])]
    with pytest.raises(IdentityError) as refused:
        await readers.admit(headers)
    assert refused.value.code == code
    assert records.written == []


async def test_a_reading_that_cannot_be_recorded_does_not_happen(keys: SqliteApiKeys, clock: HandClock) -> None:
    """Nor is it held for recorded afterwards."""
    readers, records = await made(keys, clock)
    headers = [(b"x-api-key", new_key(keys, "control:audit.read")[1])]
    records.ledger.failing = AuditError("The disk is full.", "audit_disk_full")
    with pytest.raises(AuditError):
        await readers.admit(headers)
    records.ledger.failing = None
    await readers.admit(headers)
    assert len(records.written) == 1
