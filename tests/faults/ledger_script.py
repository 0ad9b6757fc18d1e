"""A short, always equal life of a ledger in a process of its own, for a tracer that breaks its system calls one by one.

Run as `python -m tests.faults.ledger_script FOLDER`; prints `opened`, `index count` for each batch after its append returned, `refused
CODE` for one that failed, and `closed`. An unopened ledger prints `refused CODE` and ends.
"""

from __future__ import annotations

import sys
from pathlib import Path

from adapters.sqlite.ledger import SqliteStore
from router.audit.journal import Checkpointing, Journal
from router.audit.records.record import system_entry
from router.errors import AuditError
from router.ports import Entry
from tests.unit.audit.ledgers import SIGNER

BATCHES = (1, 3, 2, 4)


def batches() -> list[list[Entry]]:
    made, number = [], 0
    for count in BATCHES:
        made.append([system_entry("started", number + place, {"number": number + place}) for place in range(count)])
        number += count
    return made


def journal(folder: Path) -> Journal:
    return Journal(SqliteStore(folder / "ledger.sqlite"), Checkpointing(SIGNER, folder / "checkpoints", 3600, 4))


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(folder: Path) -> None:
    made = journal(folder)
    try:
        made.open()
    except AuditError as error:
        say(f"refused {error.code}")
        return
    say("opened")
    for batch in batches():
        try:
            say(f"{made.append(batch)} {len(batch)}")
        except AuditError as error:
            say(f"refused {error.code}")
        if made.until_checkpoint() == 0.0:
            made.sign_checkpoint()
    made.close()
    say("closed")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
