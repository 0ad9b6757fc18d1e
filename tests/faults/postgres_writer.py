"""A node that appends to a ledger in PostgreSQL under load and says on standard output what was acknowledged, until it is killed.

Run as `python -m tests.faults.postgres_writer URL FIRST`; decisions are numbered from FIRST on. Prints one `index decision-id` a line, each
only after its append returned. What was refused, or is unsettled, is not tried again. Ends with 3 where the ledger refuses for good.
"""

from __future__ import annotations

import asyncio
import sys

from adapters.postgres.connection import Server
from adapters.postgres.ledger import PostgresStore
from router.audit.journal import PASSING, Checkpointing, Journal
from router.audit.ledger import AuditLedger
from router.audit.records.record import decision_entry
from router.errors import AuditError
from tests.unit.audit.ledgers import SIGNER
from tests.unit.audit.samples import KEY, KEY_ID, numbered

WRITERS = 24
FINAL = 3


async def write(ledger: AuditLedger, number: int) -> None:
    while True:
        decision = numbered(number)
        number += WRITERS
        try:
            index = await ledger.append(decision_entry(decision, b"{}", KEY_ID, KEY))
        except AuditError as error:
            if error.code not in PASSING:
                raise
            await asyncio.sleep(0.05)
            continue
        sys.stdout.write(f"{index} {decision.id}\n")
        sys.stdout.flush()


async def main(url: str, first: int) -> None:
    store = PostgresStore(Server(url, connect_within=2.0, answer_within=5.0), SIGNER.verifier, patience=2.0)
    ledger = AuditLedger(Journal(store, Checkpointing(SIGNER, None, 3600, 200)))
    while True:
        try:
            await ledger.open()
            break
        except AuditError as error:
            if error.code not in PASSING:
                raise
    await asyncio.gather(*(write(ledger, first + writer) for writer in range(WRITERS)))


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1], int(sys.argv[2])))
    except AuditError as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        sys.stderr.flush()
        sys.exit(FINAL)
