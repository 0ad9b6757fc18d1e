"""Notices in a PostgreSQL table that several nodes share. Times of leases are the nodes' own: their clocks agree as far as the ledger wants
it, and a lease that two believe to have costs one notice more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from adapters.kept_notices import COLUMNS, KeptNotices, row_of
from adapters.postgres.connection import BoundedConnection, Server
from adapters.postgres.kept_tables import KeptTables
from adapters.postgres.schema import NOTICES, NOTICES_STEPS
from router.errors import ReviewError
from router.ports import Notice, NoticesStanding

T = TypeVar("T")
_MARKS = ", ".join([*["%s"] * COLUMNS.count(","), "%b"])  # what is sealed comes last
_OURS = "WHERE id = %s AND owner = %s AND result = '' RETURNING id"
_ADD = f"INSERT INTO review_notices ({COLUMNS}) VALUES ({_MARKS}) ON CONFLICT DO NOTHING"  # noqa: S608  # constants
_LEASE = (
    "UPDATE review_notices SET owner = %s, leased_ns = %s WHERE id IN (SELECT id FROM review_notices WHERE result = ''"  # noqa: S608 - names of ours
    f" AND due_ns <= %s AND leased_ns <= %s ORDER BY due_ns LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING {COLUMNS}"
)


class NoticeTable(KeptTables):
    """The blocking core; one thread at a time. Everything may be asked again after its answer was lost: a lease that nobody heard of runs
    out by itself."""

    part = (NOTICES, NOTICES_STEPS)

    def closed(self) -> ReviewError:
        return ReviewError("The store of notices is not open.", "review_store_closed")

    def add(self, notices: Sequence[Notice]) -> None:
        def added(connection: BoundedConnection) -> None:
            with connection.transaction():
                for notice in sorted(notices, key=lambda each: each.id):  # in one order, so that two nodes never wait for each other
                    connection.execute(_ADD, row_of(notice))

        self._run(added)

    def lease(self, owner: str, now_ns: int, until_ns: int, limit: int) -> list[Notice]:
        rows = self._run(lambda connection: connection.rows(_LEASE, (owner, until_ns, now_ns, now_ns, limit)))
        return sorted((Notice(*row) for row in rows), key=lambda notice: notice.due_ns)

    def postpone(self, owner: str, notice_id: str, attempts: int, due_ns: int, reason: str) -> bool:
        statement = f"UPDATE review_notices SET attempts = %s, due_ns = %s, reason = %s, leased_ns = 0 {_OURS}"  # noqa: S608  # a constant
        return bool(self._run(lambda connection: connection.rows(statement, (attempts, due_ns, reason, notice_id, owner))))

    def end(self, owner: str, notice_id: str, result: str, reason: str) -> bool:
        statement = f"UPDATE review_notices SET result = %s, reason = %s {_OURS}"  # noqa: S608  # a constant
        return bool(self._run(lambda connection: connection.rows(statement, (result, reason, notice_id, owner))))

    def standing(self, now_ns: int) -> NoticesStanding:
        statement = "SELECT count(*), min(due_ns) FROM review_notices WHERE result = '' AND due_ns <= %s"
        waiting, oldest_ns = self._run(lambda connection: connection.rows(statement, (now_ns,)))[0]
        return NoticesStanding(waiting, oldest_ns or 0)

    def rests(self, due_ns: int, after: str, limit: int) -> list[Notice]:
        statement = f"SELECT {COLUMNS} FROM review_notices WHERE result = '' AND due_ns = %s AND id > %s ORDER BY id LIMIT %s"  # noqa: S608 - names of ours
        rows = self._run(lambda connection: connection.rows(statement, (due_ns, after, limit)))
        return [Notice(*row) for row in rows]

    def hasten(self, notice_id: str, due_ns: int, now_ns: int) -> bool:
        statement = (
            "UPDATE review_notices SET due_ns = %s, until_ns = %s + until_ns - made_ns, made_ns = %s"
            " WHERE id = %s AND due_ns = %s AND result = '' RETURNING id"
        )
        return bool(self._run(lambda connection: connection.rows(statement, (now_ns, now_ns, now_ns, notice_id, due_ns))))

    def forget(self, now_ns: int) -> int:
        statement = "DELETE FROM review_notices WHERE keep_ns <= %s RETURNING id"
        return len(self._run(lambda connection: connection.rows(statement, (now_ns,))))


class PostgresNotices(KeptNotices):
    """Of several nodes."""

    def __init__(self, server: Server, patience: float = 5.0) -> None:
        super().__init__(NoticeTable(server, patience))
