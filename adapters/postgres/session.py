"""One session for questions that may be asked again: it is made anew when the server ended it, and waits for a server that went away."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import psycopg

from adapters.postgres.connection import (
    UNAVAILABLE,
    UNSETTLED,
    BoundedConnection,
    Server,
    connect,
    is_lost,
    may_succeed_again,
    translated,
)
from router.errors import AuditError

T = TypeVar("T")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0


class Session:
    """Blocking; one thread at a time. `patience` is how long, in seconds, a server that went away is waited for; once it was waited for in
    vain, each further question tries once."""

    def __init__(self, server: Server, patience: float = 5.0) -> None:
        self._server = server
        self._patience = patience
        self._connection: BoundedConnection | None = None
        self._away = False

    def run(self, job: Callable[[BoundedConnection], T]) -> T:
        """`job` must come to the same when it is done a second time: an answer that was lost is asked for again. Raises AuditError,
        `untouched` where no session could be had, so that nothing of it was done."""
        deadline, pause = time.monotonic() + (0.0 if self._away else self._patience), FIRST_PAUSE_S
        old, begun = self._connection is not None, False
        while True:
            try:
                connection = self._connected()
                begun = True
                return self._once(connection, job)
            except psycopg.Error as error:
                lost = is_lost(error)
                if lost:
                    self.close()
                # A session of before may have been ended long ago, which says nothing of the server now.
                ended, old = lost and old, False
                if not ended and (not (lost or may_succeed_again(error)) or time.monotonic() > deadline):
                    self._away = lost
                    raise translated(self._server, error) from error
            except AuditError as error:
                if error.code != UNAVAILABLE or time.monotonic() > deadline:
                    self._away, error.untouched = error.code == UNAVAILABLE, not begun
                    raise
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def close(self) -> None:
        """It may be used again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def _connected(self) -> BoundedConnection:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._server)
        return self._connection

    def _once(self, connection: BoundedConnection, job: Callable[[BoundedConnection], T]) -> T:
        connection.warned = ""
        done = job(connection)
        self._away = False
        if connection.warned:
            raise AuditError(f"A commit is not known to be durable: {connection.warned}.", UNSETTLED)
        return done
