"""A process that writes to a ledger under load and says on standard output what was acknowledged, until it is killed.

Run as `python -m tests.faults.ledger_writer FOLDER`; prints one `index decision-id` a line, each only after its append returned.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from adapters.sqlite.ledger import SqliteStore
from router.audit.journal import Checkpointing, Journal
from router.audit.ledger import AuditLedger
from router.audit.records.record import decision_entry, outcome_entry
from tests.unit.audit.ledgers import SIGNER
from tests.unit.audit.samples import KEY, KEY_ID, OUTCOME, numbered

WRITERS = 24


async def write(ledger: AuditLedger, writer: int) -> None:
    number = writer
    while True:
        decision = numbered(number)
        for entry in (decision_entry(decision, b"{}", KEY_ID, KEY), outcome_entry(decision.id, OUTCOME, 1, KEY_ID, KEY)):
            index = await ledger.append(entry)
            sys.stdout.write(f"{index} {decision.id}\n")
        sys.stdout.flush()
        number += WRITERS


async def main(folder: Path) -> None:
    ledger = AuditLedger(Journal(SqliteStore(folder / "ledger.sqlite"), Checkpointing(SIGNER, folder / "checkpoints", 3600, 100)))
    await ledger.open()
    await asyncio.gather(*(write(ledger, writer) for writer in range(WRITERS)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
