"""A ledger and its subjects' keys as files in one node's state directory."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.sqlite.connection import connect, refuse_missing
from adapters.sqlite.ledger import FORMAT, SqliteStore
from adapters.sqlite.migrations import stored_format
from adapters.sqlite.reader import SqliteReader
from adapters.sqlite.subject_keys import STEPS, KeyFile, prepared
from router.errors import AuditError

LEDGER_FILE, KEYS_FILE = "ledger.sqlite", "keys.sqlite"


@dataclass(frozen=True, slots=True)
class SqlitePlace:
    state: Path

    def store(self, verifier: str) -> SqliteStore:
        """For the one process that appends."""
        return SqliteStore(self.state / LEDGER_FILE)

    def keys(self, sealing_key: bytes) -> KeyFile:
        """For the one process that makes keys; not open yet."""
        return KeyFile(self.state / KEYS_FILE, sealing_key)

    def reader(self, make: Callable[[int, bytes, bytes, str], Any]) -> SqliteReader:
        return SqliteReader(self.state / LEDGER_FILE, make)

    def kept_keys(self, sealing_key: Callable[[], bytes]) -> KeyFile:
        """Open, for who only asks, also beside who makes keys. Raises AuditError, `audit_keys_missing` before the sealing key is read."""
        file = self.state / KEYS_FILE
        if not os.path.isfile(file):
            raise AuditError(f"There are no subject keys at {file}.", "audit_keys_missing")
        keys = self.keys(sealing_key())
        keys.open_to_read()
        return keys

    def turns(self) -> None:
        """The lock on the ledger's file keeps everybody else away."""

    def aside(self) -> SqlitePlace:
        raise AuditError("Files are put in the place of others as files.", "audit_store_unsuited")

    def put_in_place(self, new: object, name: str) -> str:
        raise AuditError("Files are put in the place of others as files.", "audit_store_unsuited")

    def grant(self, role: str, pruning: bool) -> None:
        raise AuditError("Files are granted to nobody: `--grant-to` is for a ledger in PostgreSQL.", "audit_store_unsuited")

    def migrate(self) -> list[tuple[str, int, int]]:
        """Of files that nobody has open. Raises AuditError `audit_missing`, `audit_locked`."""
        ledger, keys = self.state / LEDGER_FILE, self.state / KEYS_FILE
        refuse_missing(ledger)
        store = SqliteStore(ledger)
        try:
            done = [("ledger", store.migrate(), FORMAT)]
        finally:
            store.close()
        if os.path.isfile(keys):
            connection = connect(keys)
            before = stored_format(connection)
            connection.close()
            prepared(keys).close()
            done.append(("keys", before, max(STEPS)))
        return done
