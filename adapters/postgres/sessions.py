"""Sessions in a PostgreSQL table that all nodes share: who signs in at one node is signed in at each, and signed out at each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from adapters.kept_sessions import COLUMNS, FORGOTTEN, PLACES, forgotten, row_of, session_from
from adapters.postgres.connection import BoundedConnection, Server
from adapters.postgres.schema import SESSION_STEPS, SESSIONS, migrate
from adapters.postgres.session import Session as Connected
from router.errors import AuditError, StateError
from router.ports import Session, Which

T = TypeVar("T")
_SELECT = f"SELECT {COLUMNS} FROM sessions"  # noqa: S608  # constants here and below
_INSERT = f"INSERT INTO sessions ({COLUMNS}) VALUES ({','.join(['%s'] * PLACES)}) ON CONFLICT DO NOTHING"  # noqa: S608 - names of ours
_FORGET = f"DELETE FROM sessions WHERE {FORGOTTEN.format('%s')}"  # noqa: S608 - names of ours
_BEYOND = f"{_SELECT} WHERE subject_id = %s AND expires_ns > 0 ORDER BY digest = %s DESC, created_ns DESC, digest DESC OFFSET %s"
_SPEND = "INSERT INTO spent_marks (mark, until_ns) VALUES (%s, %s) ON CONFLICT DO NOTHING"


class PostgresSessions:
    def __init__(self, server: Server) -> None:
        self._server = server
        self._session = Connected(server)
        self._one = threading.Lock()
        self._open = False

    def open(self) -> None:
        self._open = True
        self._run(lambda connection: migrate(connection, self._server, SESSIONS, SESSION_STEPS))

    def close(self) -> None:
        with self._one:
            self._open = False
            self._session.close()

    def ping(self) -> None:
        self._run(lambda connection: connection.rows("SELECT 1 FROM sessions LIMIT 1"))

    def find(self, digest: bytes) -> Session | None:
        found = self._run(lambda connection: connection.rows(f"{_SELECT} WHERE digest = %s", (digest,)))
        return session_from(found[0]) if found else None

    def add(self, session: Session, most: int, instead: bytes | None = None) -> Sequence[Session]:
        subject = session.subject.id

        def added(connection: BoundedConnection) -> list[Session]:
            with connection.transaction():
                # One person's sign-ins one after the other, or two would each leave `most`.
                connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"{self._server.schema} session {subject}",))
                connection.execute(_FORGET, forgotten(session.created_ns, instead))
                connection.execute(_INSERT, row_of(session))
                beyond = connection.rows(_BEYOND, (subject, session.digest, most))
                for row in beyond:
                    connection.execute("DELETE FROM sessions WHERE digest = %s", (row[0],))
                return [session_from(row) for row in reversed(beyond)]

        return self._run(added)

    def use(self, digest: bytes, now_ns: int) -> None:
        statement = "UPDATE sessions SET used_ns = greatest(used_ns, %s) WHERE digest = %s"
        self._run(lambda connection: connection.execute(statement, (now_ns, digest)))

    def ending(self, which: Which) -> Sequence[Session]:
        return self._taken(which, "UPDATE sessions SET expires_ns = 0 WHERE")

    def end(self, which: Which) -> Sequence[Session]:
        return self._taken(which, "DELETE FROM sessions WHERE")

    def _taken(self, which: Which, statement: str) -> Sequence[Session]:
        told = which.told
        if not told:
            return []
        where = " AND ".join(f"{column} = %s" for column in told)
        whole = f"{statement} {where} RETURNING {COLUMNS}"
        found = [session_from(row) for row in self._run(lambda connection: connection.rows(whole, (*told.values(),)))]
        return sorted(found, key=lambda each: (each.created_ns, each.digest))

    def all(self) -> Sequence[Session]:
        return [session_from(row) for row in self._run(lambda connection: connection.rows(f"{_SELECT} ORDER BY created_ns, digest"))]

    def spent(self, mark: bytes, now_ns: int) -> bool:
        statement = "SELECT 1 FROM spent_marks WHERE mark = %s AND until_ns > %s"
        return bool(self._run(lambda connection: connection.rows(statement, (mark, now_ns))))

    def spend(self, mark: bytes, until_ns: int, now_ns: int) -> bool:
        def spent(connection: BoundedConnection) -> bool:
            with connection.transaction():
                connection.execute("DELETE FROM spent_marks WHERE until_ns <= %s", (now_ns,))
                return connection.execute(_SPEND, (mark, until_ns)).rowcount == 1

        return self._run(spent)

    def _run(self, job: Callable[[BoundedConnection], T]) -> T:
        with self._one:
            if not self._open:
                raise StateError("the session store is not open")
            try:
                return self._session.run(job)
            except (AuditError, ValueError, KeyError) as error:
                raise StateError(f"the session store does not answer: {error}") from error
