"""How deliveries ended, asked of a ledger that answers slowly."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import NoReturn

import pytest

from adapters.memory_ledger import MemoryLedger, MemorySubjectKeys
from adapters.memory_outbox import MemoryOutbox
from router.errors import AuditError
from router.system import SystemClock
from router.wiring.fates import MOST_AT_ONCE, LedgerFates


async def test_who_asks_again_and_again_is_refused_and_not_remembered(tmp_path: Path) -> None:
    """While an index is made anew for long; those who were there first hear of it when it is over."""
    held = threading.Event()

    def opened() -> NoReturn:
        held.wait(30)
        raise AuditError("The ledger cannot be read.", "audit_store_unavailable")

    outbox = MemoryOutbox(MemoryLedger(), MemorySubjectKeys())
    fates = LedgerFates(outbox, opened, tmp_path, SystemClock())
    asking = [asyncio.create_task(fates.fate("d")) for _ in range(MOST_AT_ONCE)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(AuditError) as refused:
        await fates.fate("d")
    assert refused.value.code == "audit_busy"
    held.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert {getattr(each, "code", "") for each in answers} == {"audit_store_unavailable"}
    await fates.close()
