"""Whose turn it is to give orders among the nodes of a ledger in PostgreSQL: an advisory lock, for who waits, and a number,
for who is late.

Anybody in the database can take an advisory lock. Then no order is given, which is said; that two are given at once the number prevents.
"""

from __future__ import annotations

import time
from contextlib import suppress

import psycopg

from adapters.postgres.connection import BoundedConnection, Server, connect, translated
from router.errors import AuditError

WAIT_S, LOOK_S = 60.0, 0.1
_TRY = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"


class PostgresTurns:
    """Implements `router.audit.governance.ordering.NodeTurns`, with a session for each turn."""

    def __init__(self, server: Server, wait: float = WAIT_S) -> None:
        self._server = server
        self._wait = wait
        self._session: BoundedConnection | None = None

    def take(self) -> int:
        session = connect(self._server)
        try:
            self._locked(session)
            number = int(session.rows("INSERT INTO order_turns DEFAULT VALUES RETURNING number")[0][0])
        except psycopg.Error as error:
            session.close()
            raise translated(self._server, error) from error
        except BaseException:
            session.close()
            raise
        self._session = session
        return number

    def leave(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with suppress(psycopg.Error):
                session.close()

    def _locked(self, session: BoundedConnection) -> None:
        deadline = time.monotonic() + self._wait
        while not session.rows(_TRY, (f"lockgate orders {self._server.schema}",))[0][0]:
            if time.monotonic() > deadline:
                message = f"Another node has been giving orders for {self._wait:g} seconds; nothing was written. Try again."
                raise AuditError(message, "audit_orders_busy")
            time.sleep(LOOK_S)
