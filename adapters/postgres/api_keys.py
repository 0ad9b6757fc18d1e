"""API keys in a PostgreSQL table that all processes of all nodes share. Root of trust is the table: who can write it can make keys.

Each process has all keys in memory and asks once a second what has changed, on a thread of its own: nobody who calls waits for the
database. A process that could not ask for `STALE_S` takes no key at all, for one of them may have been revoked.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from adapters.kept_api_keys import COLUMNS, key_from, row_of
from adapters.postgres.connection import BoundedConnection, Server
from adapters.postgres.schema import SHARED, SHARED_STEPS, migrate
from adapters.postgres.session import Session
from router.audit.keys.leasing import lease_clock
from router.errors import AuditError, StateError
from router.ports import ApiKey

log = logging.getLogger("lockgate.identity")
T = TypeVar("T")
EVERY_S = 1.0
STALE_S = 5.0
_CHANGED = f"SELECT {COLUMNS}, change FROM api_keys WHERE change >= %s ORDER BY change"  # noqa: S608  # a constant
_NEXT = "SELECT coalesce(max(change), 0) + 1 FROM api_keys"
_ADD = f"INSERT INTO api_keys ({COLUMNS}, change) SELECT %s, %b, %s, %s, %s, %s, %s, %s, %s, ({_NEXT}) ON CONFLICT (id) DO NOTHING"
_REVOKE = f"UPDATE api_keys SET revoked_ns = %s, change = ({_NEXT}) WHERE id = %s AND revoked_ns IS NULL"  # noqa: S608 - names of ours


class PostgresApiKeys:
    """`find` never waits. The others block, from any thread. `every` and `stale` in seconds."""

    def __init__(self, server: Server, every: float = EVERY_S, stale: float = STALE_S) -> None:
        self._server = server
        self._every = every
        self._stale = stale
        self._asking, self._writing = Session(server, 0.0), Session(server)
        self._one_asks, self._one_writes = threading.Lock(), threading.Lock()
        self._keys: dict[str, ApiKey] = {}
        self._last: tuple[Any, ...] | None = None
        self._asked_at = -math.inf
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Raises StateError."""
        self._closing.clear()
        with self._said():
            self._writing.run(lambda connection: migrate(connection, self._server, SHARED, SHARED_STEPS))
        self._writing.close()  # most processes never write
        self.look()
        self._thread = threading.Thread(target=self._keep_looking, name="api-keys", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Twice is harmless."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._keys, self._last = {}, None
        self._asked_at = -math.inf
        self._asking.close()
        self._writing.close()

    def ping(self) -> None:
        if lease_clock() - self._asked_at > self._stale:
            # Anybody may read this, so it does not say where they are; the log does.
            raise StateError(f"the API keys could not be asked for in the last {self._stale:g} seconds")

    def look(self) -> None:
        """Takes up what any node has changed. Raises StateError."""
        with self._one_asks, self._said():
            began = lease_clock()
            keys, rows = self._keys, self._changed(0 if self._last is None else self._last[9])
            if self._last is not None and rows[:1] != [self._last]:
                keys, rows = {}, self._changed(0)  # the server has lost changes, or was restored: its numbers begin anew
            for row in rows:
                keys[row[0]] = key_from(row[:9])
            self._keys, self._last = keys, rows[-1] if rows else None
            self._asked_at = began

    def find(self, key_id: str) -> ApiKey | None:
        self.ping()
        return self._keys.get(key_id)

    def add(self, key: ApiKey) -> bool:
        added = self._change(_ADD, row_of(key), lambda connection: self._is(connection, key))
        if added:
            self._keys[key.id] = key
        return added

    def revoke(self, key_id: str, now_ns: int) -> bool:
        def known(connection: BoundedConnection) -> bool:
            return bool(connection.rows("SELECT 1 FROM api_keys WHERE id = %s", (key_id,)))

        revoked = self._change(_REVOKE, (now_ns, key_id), known)
        known_here = self._keys.get(key_id)
        if revoked and known_here is not None and known_here.revoked_ns is None:
            self._keys[key_id] = replace(known_here, revoked_ns=now_ns)
        return revoked

    def all(self) -> Sequence[ApiKey]:
        with self._one_writes, self._said():
            found = self._writing.run(
                lambda connection: connection.rows(f"SELECT {COLUMNS} FROM api_keys ORDER BY created_ns, id")  # noqa: S608  # a constant
            )
            return [key_from(row) for row in found]

    def _change(self, statement: str, parameters: Sequence[object], otherwise: Callable[[BoundedConnection], bool]) -> bool:
        """`otherwise` answers where nothing was changed: what is there may be this very change, whose answer was lost."""

        def changed(connection: BoundedConnection) -> bool:
            with connection.transaction():
                # One at a time, so that numbers are seen in their order.
                connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"lockgate api keys {self._server.schema}",))
                return connection.execute(statement, parameters).rowcount == 1 or otherwise(connection)

        with self._one_writes, self._said():
            return self._writing.run(changed)

    def _changed(self, since: int) -> list[tuple[Any, ...]]:
        """The row with that number is the first, if it is there."""
        return self._asking.run(lambda connection: connection.rows(_CHANGED, (since,)))

    def _is(self, connection: BoundedConnection, key: ApiKey) -> bool:
        return connection.rows("SELECT digest FROM api_keys WHERE id = %s", (key.id,)) == [(key.digest,)]

    def _keep_looking(self) -> None:
        told = False
        while not self._closing.wait(self._every):
            try:
                self.look()
            except StateError as error:
                if not told:
                    log.error("no API key is taken while they cannot be asked for: %s", error)
                told = True
            except Exception:  # who ends here would take no key ever again
                log.exception("looking for changed API keys failed in a way that nobody foresaw")
            else:
                told = False

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except (AuditError, ValueError, KeyError) as error:
            raise StateError(f"the key store does not answer: {error}") from error
