"""Reads a ledger from a PostgreSQL server beside those who write to it, from a standby of it, or from a restored copy; changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import psycopg

from adapters.postgres.connection import MISSING, BoundedConnection, Server, connect, is_lost, may_succeed_again, translated
from adapters.postgres.ledger import EMPTY, NOTES, stored_nodes
from adapters.postgres.schema import LEDGER, LEDGER_STEPS, stored_format
from router.errors import AuditError

FORMAT = max(LEDGER_STEPS)
_AT_ONCE = 1024
_RECORDS = "SELECT idx, leaf, sealed, key_id FROM records WHERE idx >= %s AND idx < %s ORDER BY idx LIMIT %s"
_LEAVES_WITH = "SELECT idx, leaf FROM records WHERE idx >= %s AND idx < %s AND position(%b IN leaf) > 0 ORDER BY idx"
_LOOKED_AT = 8192  # records, in one question: some 30 MB, which a slow disk reads in the time that a server has for an answer
_COMMITS = "SELECT size, root FROM commits WHERE size > %s ORDER BY size LIMIT %s"
_TABLES = ("meta", "records", "leaf_hashes", "nodes", "commits", "checkpoints")
_COMPUTED = (
    "SELECT relname FROM pg_catalog.pg_class WHERE relnamespace = current_schema()::regnamespace AND relname = ANY(%s)"
    " AND (relkind NOT IN ('r', 'p') OR relrowsecurity) ORDER BY relname"
)


class PostgresReader:
    """`make` builds what a record is handed out as, from (index, leaf, sealed, key id). A session that the server ended is made anew."""

    def __init__(self, server: Server, make: Callable[[int, bytes, bytes, str], Any]) -> None:
        self._server = server
        self._make = make
        self._connection: BoundedConnection | None = None
        try:
            found = self._ask(lambda connection: stored_format(connection, LEDGER))
            if found == 0:
                raise AuditError(f"There is no ledger in the schema {server.schema} of {server}.", MISSING)
            if found != FORMAT:
                raise AuditError(f"The ledger in {server} has format {found}, this release knows {FORMAT}.", "audit_format_unknown")
            self._origin = str(dict(self.rows("SELECT name, value FROM meta")).get("origin", ""))
        except AuditError:
            self.close()
            raise

    def origin(self) -> str:
        return self._origin

    def size(self) -> int:
        return self.last_commit()[0]

    def last_commit(self) -> tuple[int, bytes]:
        found = self.rows("SELECT size, root FROM commits ORDER BY size DESC LIMIT 1")
        return found[0] if found else EMPTY

    def records(self, start: int, end: int) -> Iterator[Any]:
        while rows := self.rows(_RECORDS, (start, end, _AT_ONCE)):
            for row in rows:
                yield self._make(*row)
            start = rows[-1][0] + 1

    def leaves_with(self, text: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        for first in range(start, end, _LOOKED_AT):
            yield from self.rows(_LEAVES_WITH, (first, min(end, first + _LOOKED_AT), text))

    def nodes(self, level: int, start: int, end: int) -> list[bytes]:
        return stored_nodes(self, level, start, end)

    def commits(self) -> Iterator[tuple[int, bytes]]:
        last = -1
        while rows := self.rows(_COMMITS, (last, _AT_ONCE)):
            yield from rows
            last = rows[-1][0]

    def checkpoints(self) -> list[str]:
        return [row[0] for row in self.rows(f"{NOTES} ORDER BY size")]

    def damage(self) -> str | None:
        """Its pages are the server's own affair. What a view or a policy of rows computes could be another thing for whoever asks later."""
        for (name,) in self.rows(_COMPUTED, (list(_TABLES),)):
            return f"What stands as {name} is no plain table, or shows each user other rows: what it says now it need not say again."
        return None

    def latest_checkpoint(self) -> str | None:
        found = self.rows(f"{NOTES} ORDER BY size DESC LIMIT 1")
        return found[0][0] if found else None

    def notes(self, least: int, limit: int, newest: bool) -> list[str]:
        order = "DESC" if newest else "ASC"
        found = self.rows(f"{NOTES} WHERE size >= %s ORDER BY size {order} LIMIT %s", (least, limit))
        return [row[0] for row in found]

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        found: list[Any] = self._ask(lambda connection: connection.rows(sql, parameters))
        return found

    def _ask(self, question: Callable[[BoundedConnection], Any], *, again: bool = True) -> Any:
        """A question changes nothing, so it may be asked once more: over a new session where the server had ended this one, and where a
        standby cancelled it to go on with its own work."""
        had_session = self._connection is not None
        try:
            return question(self._opened())
        except psycopg.Error as error:
            lost = is_lost(error)
            if lost:
                self.close()
            if not again or not (had_session if lost else may_succeed_again(error)):
                raise translated(self._server, error) from error
        return self._ask(question, again=False)

    def _opened(self) -> BoundedConnection:
        if self._connection is None:
            self._connection = connect(self._server, read_only=True)
        return self._connection
