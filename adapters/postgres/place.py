"""A ledger and its subjects' keys in PostgreSQL, the one place of several nodes; in two databases, where two were named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from adapters.postgres.connection import Server, check_url, connect
from adapters.postgres.grants import KEY_GRANTS, LEDGER_GRANTS, PRUNING_GRANTS, grant
from adapters.postgres.ledger import PostgresStore
from adapters.postgres.orders import PostgresTurns
from adapters.postgres.reader import PostgresReader
from adapters.postgres.recovery import aside, put_in_place
from adapters.postgres.schema import KEY_STEPS, KEYS, LEDGER, LEDGER_STEPS, migrate
from adapters.postgres.subject_keys import PostgresKeys

__all__ = ["PostgresPlace", "Server", "check_url"]


@dataclass(frozen=True, slots=True)
class PostgresPlace:
    ledger: Server
    subject_keys: Server
    patience: float = 5.0

    def store(self, verifier: str) -> PostgresStore:
        """For a process that appends, beside others."""
        return PostgresStore(self.ledger, verifier, self.patience)

    def keys(self, sealing_key: bytes) -> PostgresKeys:
        """For a process that makes keys; not open yet."""
        return PostgresKeys(self.subject_keys, sealing_key)

    def reader(self, make: Callable[[int, bytes, bytes, str], Any]) -> PostgresReader:
        return PostgresReader(self.ledger, make)

    def kept_keys(self, sealing_key: Callable[[], bytes]) -> PostgresKeys:
        """Open, for who only asks."""
        keys = PostgresKeys(self.subject_keys, sealing_key(), read_only=True)
        keys.open()
        return keys

    def turns(self) -> PostgresTurns:
        return PostgresTurns(self.ledger)

    def aside(self) -> PostgresPlace:
        """Where a ledger is made that is to come in the place of this one; empty. Raises AuditError."""
        return replace(self, ledger=aside(self.ledger))

    def put_in_place(self, new: PostgresPlace, name: str) -> str:
        """The schema in which this ledger is kept from then on. Raises AuditError."""
        return put_in_place(self.ledger, new.ledger, name)

    def migrate(self) -> list[tuple[str, int, int]]:
        """Makes the tables, or brings them to this release's format: (part, the format before, the format now)."""
        done = []
        for server, part, steps in ((self.ledger, LEDGER, LEDGER_STEPS), (self.subject_keys, KEYS, KEY_STEPS)):
            connection = connect(server)
            try:
                done.append((part, migrate(connection, server, part, steps), max(steps)))
            finally:
                connection.close()
        return done

    def grant(self, role: str, pruning: bool) -> None:
        """What a node needs, in both databases. `pruning`: with retention."""
        grant(self.ledger, role, (*LEDGER_GRANTS, *(PRUNING_GRANTS if pruning else ())))
        grant(self.subject_keys, role, KEY_GRANTS)
