"""The durable parts that the control process owns: ledger, subject keys, and the counts of refusals on their way into the ledger."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters.sqlite_ledger import SqliteStore
from adapters.sqlite_subject_keys import KeyFile, SqliteSubjectKeys
from router.audit.journal import Journal
from router.audit.ledger import AuditLedger
from router.audit.record import system_entry
from router.errors import AuditError
from router.ports import Clock, Entry
from router.processes.refusals import Refusals
from router.wiring.ledger_keys import open_sealing_key
from router.wiring.ledger_rotation import checkpointing, ledger_signer, taken_over
from router.workspace import Workspace

log = logging.getLogger("lockgate.audit")
LEDGER_FILE, KEYS_FILE = "ledger.sqlite", "keys.sqlite"
REFUSALS_EVERY_S = 5.0


@dataclass(slots=True)
class Evidence:
    ledger: AuditLedger
    keys: SqliteSubjectKeys
    clock: Clock
    refusals: Refusals = field(default_factory=Refusals)

    async def append(self, payload: Any) -> list[int]:
        return await self.ledger.append_many([Entry(*fields) for fields in payload])

    async def subject_key(self, subject: Any) -> tuple[str, bytes]:
        return await self.keys.key_for(subject)

    async def ping(self, _: Any = None) -> None:
        await self.ledger.ping()

    async def refused(self, counts: Any) -> None:
        for code, count in counts.items():
            self.refusals.add(code, count)

    async def system(self, event: str, details: Mapping[str, Any]) -> None:
        await self.ledger.append(system_entry(event, self.clock.now_ns(), details))

    async def record_refusals(self) -> None:
        """One record for all that was refused since the last; what cannot be recorded now goes with the next that can."""
        counts = self.refusals.take()
        if not counts:
            return
        try:
            await self.system("refused", counts)
        except AuditError as error:
            self.refusals.put(counts)
            log.error("%d refusals are not recorded yet: %s", sum(counts.values()), error)

    async def keep_recording(self) -> None:
        while True:
            await asyncio.sleep(REFUSALS_EVERY_S)
            await self.record_refusals()

    async def close(self) -> None:
        await self.ledger.close()
        await self.keys.close()


async def open_evidence(workspace: Workspace, clock: Clock) -> Evidence:
    """Raises AuditError, StateError: without evidence nothing starts."""
    state, audit = workspace.path(workspace.config.state), workspace.config.audit
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    signer, store = await asyncio.to_thread(ledger_signer, workspace), SqliteStore(state / LEDGER_FILE)
    sealing_key = await asyncio.to_thread(open_sealing_key, audit.sealing_key, workspace.root, create=True)
    handed = await asyncio.to_thread(taken_over, workspace, store, signer, "configured", clock.now_ns())
    if handed is not None:
        log.warning("the ledger was handed over, with record %d, to the key %s", handed.size - 1, signer.verifier)
    ledger = AuditLedger(Journal(store, checkpointing(workspace, signer)))
    await ledger.open()
    keys = SqliteSubjectKeys(KeyFile(state / KEYS_FILE, sealing_key))
    try:
        await keys.open()
    except BaseException:
        await ledger.close()
        raise
    return Evidence(ledger, keys, clock)
