"""The verifiable index of a running Lockgate: signs sections as the ledger grows, and writes certificates from them.

On a thread of its own and files of its own. It gives way after every few hundred microseconds of work, so that records do not wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

from adapters.sqlite.index import INDEX_FILE, SqliteIndex
from router.audit.governance.facts import Facts
from router.audit.lookups.chain import EVENT
from router.audit.lookups.upkeep import Sections
from router.audit.questions.reader import LedgerReader
from router.audit.records.record import system_entry
from router.errors import AuditError, LockgateError
from router.ports import Clock, Ledger
from router.wiring.governance import receipt_document

log = logging.getLogger("lockgate.audit")
T = TypeVar("T")
Json = dict[str, Any]
FOLDER = "sections"  # in the state directory
WORK_S = 0.002
EVERY_S = 10.0


class SigningLedger(Ledger, Protocol):
    async def sign(self, size: int) -> None:
        """Returns once a checkpoint over so many records is signed, or none came in time."""


class Indexing:
    """`records` is how many make a section, None where the index is not kept. Implements the control API's port."""

    def __init__(
        self, open_reader: Callable[[], LedgerReader], state: Path, records: int | None, ledger: SigningLedger, clock: Clock
    ) -> None:
        self._open_reader = open_reader
        self._state = state
        self._records = records
        self._ledger = ledger
        self._clock = clock
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "audit-sections")
        self._sections: Sections | None = None

    async def keep(self) -> None:
        """For as long as it runs. What fails is tried again the next time."""
        while self._records is not None:
            try:
                async with self._turn:
                    await self._sign_due()
            except LockgateError as error:
                log.error("the index of the audit trail is not up to date: %s", error)
            except Exception:  # the next round may get through
                log.exception("signing the index failed in a way that nobody foresaw")
            await asyncio.sleep(EVERY_S)

    async def sign(self) -> Json:
        """A section of all that is in none yet, under a checkpoint that is signed at once. Raises AuditError `index_off`,
        `audit_unsigned`."""
        if self._records is None:
            raise AuditError("The configuration has audit.index switched off: no section is signed.", "index_off")
        async with self._turn:
            await self._sign_due()
            await self._sign_next(now=True)
            chain = await self._ask(Sections.chain)
        if not chain:
            raise AuditError("There is no record yet that could be in an index.", "audit_missing")
        await self._ledger.sign(chain[-1].record + 1)
        receipt = await self._ask(lambda sections: Facts(sections.reader, sections.index).receipt(chain[-1].record))
        if receipt.checkpoint is None:
            raise AuditError(f"Record {receipt.index} signs it, but no checkpoint over that could be signed yet.", "audit_unsigned")
        return receipt_document(receipt)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    async def _sign_due(self) -> None:
        again = False
        while await self._sign_next(again=again):
            again = True

    async def _sign_next(self, *, now: bool = False, again: bool = False) -> bool:
        records = self._records or 0
        told = await self._ask(lambda sections: sections.next(records, now=now, again=again))
        if told is not None:
            await self._ledger.append(system_entry(EVENT, self._clock.now_ns(), told))
        return told is not None

    async def _ask(self, question: Callable[[Sections], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: question(self._opened()))

    def _opened(self) -> Sections:
        if self._sections is None:
            self._sections = Sections(self._open_reader(), SqliteIndex(self._state / INDEX_FILE), self._state / FOLDER, GivingWay())
        return self._sections

    def _close(self) -> None:
        if self._sections is not None:
            self._sections.reader.close()
            self._sections.index.close()


class GivingWay:
    """Sleeps as long as was worked: the interpreter is shared with who takes records in."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def __call__(self) -> None:
        worked = time.monotonic() - self._since
        if worked >= WORK_S:
            time.sleep(min(worked, 10 * WORK_S))
            self._since = time.monotonic()
