"""Small ledgers on disk, and ways to tamper with them that keep every stored value as consistent as the tamperer can be bothered to."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.sqlite.ledger import SqliteStore
from adapters.sqlite.reader import SqliteReader
from router.audit.checking.verify import Plan, Report, verify
from router.audit.journal import Checkpointing, Journal
from router.audit.questions.reader import Stored
from router.audit.records.record import decision_entry, outcome_entry
from router.audit.tree.checkpoint import NoteSigner, latest_published
from router.audit.tree.merkle import CompactRange, leaf_hash
from router.ports import Entry
from tests.unit.audit.samples import KEY, KEY_ID, OUTCOME, numbered

SIGNER = NoteSigner("ledger.test", Ed25519PrivateKey.from_private_bytes(bytes(32)))


def entries(count: int) -> list[Entry]:
    """Decisions and their outcomes, in turn."""
    made: list[Entry] = []
    for number in range((count + 1) // 2):
        decision = numbered(number)
        made.append(decision_entry(decision, b"{}", KEY_ID, KEY))
        made.append(outcome_entry(decision.id, OUTCOME, decision.decided_ns + 1, KEY_ID, KEY))
    return made[:count]


def written(folder: Path, records: Sequence[Entry], batch: int = 5, checkpoint_every: int = 20) -> str:
    """Writes a ledger; returns its last checkpoint, as somebody elsewhere would have kept it."""
    journal = Journal(SqliteStore(folder / "ledger.sqlite"), Checkpointing(SIGNER, folder / "checkpoints", 3600, checkpoint_every))
    journal.open()
    for start in range(0, len(records), batch):
        journal.append(records[start : start + batch])
        if journal.until_checkpoint() == 0.0:
            journal.sign_checkpoint()
    journal.close()
    return latest_published(folder / "checkpoints") or ""


def reader(folder: Path) -> SqliteReader:
    return SqliteReader(folder / "ledger.sqlite", Stored)


def verified(folder: Path, outside: str | None = None, **more: Any) -> Report:
    return verify(Plan(partial(reader, folder), SIGNER.verifier, outside, processes=1, **more))


def run(folder: Path, *statements: str | tuple[str, tuple[Any, ...]]) -> None:
    with closing(sqlite3.connect(folder / "ledger.sqlite", isolation_level=None)) as file:
        for statement in statements:
            file.execute(*((statement,) if isinstance(statement, str) else statement))


def records_of(folder: Path) -> list[tuple[bytes, bytes, str]]:
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as file:
        return file.execute("SELECT leaf, sealed, key_id FROM records ORDER BY idx").fetchall()


def replace_records(folder: Path, records: Sequence[tuple[bytes, bytes, str]]) -> None:
    """Puts other records in their place and leaves the rest as it was."""
    run(folder, "DELETE FROM records", *(("INSERT INTO records VALUES (?,?,?,?)", (at, *record)) for at, record in enumerate(records)))


def rehash(folder: Path) -> None:
    """Makes leaf hashes, nodes and commits agree with the records: all that needs no signing key."""
    tree, statements = CompactRange(), list[tuple[str, tuple[Any, ...]]]()

    def note(level: int, index: int, node: bytes) -> None:
        if level % 8 == 0:
            statements.append(("INSERT INTO nodes VALUES (?,?,?)", (level, index, node)))

    for at, (leaf, _, _) in enumerate(records_of(folder)):
        tree.append(leaf_hash(leaf), note)
        statements.append(("INSERT INTO leaf_hashes VALUES (?,?)", (at, leaf_hash(leaf))))
    statements.append(("INSERT INTO commits VALUES (?,?)", (tree.size, tree.root())))
    run(folder, "DELETE FROM nodes", "DELETE FROM leaf_hashes", "DELETE FROM commits", *statements)


def resign(folder: Path, signer: NoteSigner = SIGNER) -> None:
    """What whoever holds the signing key can do on top."""
    run(folder, "DELETE FROM checkpoints")
    for file in (folder / "checkpoints").iterdir():
        file.unlink()
    journal = Journal(SqliteStore(folder / "ledger.sqlite"), Checkpointing(signer, folder / "checkpoints"))
    journal.open()
    journal.close()
