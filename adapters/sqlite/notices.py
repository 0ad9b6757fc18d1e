"""Notices in one SQLite file: WAL, `synchronous=FULL`; a file of its own, so that telling people never waits for what decides, nor the
other way round."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.kept_notices import COLUMNS, KeptNotices, row_of
from adapters.sqlite.kept_file import KeptFile
from adapters.sqlite.migrations import Steps
from router.errors import ReviewError
from router.ports import Notice, NoticesStanding

STEPS: Steps = {
    1: (
        "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
        # `result` is empty until it ended.
        "CREATE TABLE IF NOT EXISTS notices (id TEXT PRIMARY KEY, review TEXT NOT NULL, event TEXT NOT NULL, notifier TEXT NOT NULL,"
        " intent TEXT NOT NULL, risk TEXT NOT NULL, route TEXT NOT NULL, expires_ns INTEGER NOT NULL, made_ns INTEGER NOT NULL,"
        " due_ns INTEGER NOT NULL, until_ns INTEGER NOT NULL, keep_ns INTEGER NOT NULL, attempts INTEGER NOT NULL,"
        " owner TEXT NOT NULL DEFAULT '', leased_ns INTEGER NOT NULL DEFAULT 0, result TEXT NOT NULL DEFAULT '',"
        " reason TEXT NOT NULL DEFAULT '') STRICT",
        "CREATE INDEX IF NOT EXISTS notices_due ON notices (due_ns) WHERE result = ''",
        "CREATE INDEX IF NOT EXISTS notices_keep ON notices (keep_ns)",
    ),
    2: ("ALTER TABLE notices ADD COLUMN sealed BLOB NOT NULL DEFAULT x''",),
}
_OURS = "WHERE id = ? AND owner = ? AND result = '' RETURNING id"
_MARKS = ",".join("?" * (COLUMNS.count(",") + 1))


class NoticeFile(KeptFile):
    steps = STEPS

    def closed(self) -> ReviewError:
        return ReviewError(f"The store of notices {self._path} is not open.", "review_store_closed")

    def add(self, notices: Sequence[Notice]) -> None:
        statement = f"INSERT INTO notices ({COLUMNS}) VALUES ({_MARKS}) ON CONFLICT DO NOTHING"  # noqa: S608  # constants
        with self._transaction() as run:
            for notice in notices:
                run(statement, row_of(notice))

    def lease(self, owner: str, now_ns: int, until_ns: int, limit: int) -> list[Notice]:
        rows = self._open.execute(
            "UPDATE notices SET owner = ?, leased_ns = ? WHERE id IN (SELECT id FROM notices WHERE result = '' AND due_ns <= ?"  # noqa: S608 - names of ours
            f" AND leased_ns <= ? ORDER BY due_ns LIMIT ?) RETURNING {COLUMNS}",
            (owner, until_ns, now_ns, now_ns, limit),
        )
        return sorted((Notice(*row) for row in rows), key=lambda notice: notice.due_ns)

    def postpone(self, owner: str, notice_id: str, attempts: int, due_ns: int, reason: str) -> bool:
        statement = f"UPDATE notices SET attempts = ?, due_ns = ?, reason = ?, leased_ns = 0 {_OURS}"  # noqa: S608  # a constant
        return bool(self._open.execute(statement, (attempts, due_ns, reason, notice_id, owner)))

    def end(self, owner: str, notice_id: str, result: str, reason: str) -> bool:
        statement = f"UPDATE notices SET result = ?, reason = ? {_OURS}"  # noqa: S608  # a constant
        return bool(self._open.execute(statement, (result, reason, notice_id, owner)))

    def standing(self, now_ns: int) -> NoticesStanding:
        statement = "SELECT count(*), min(due_ns) FROM notices WHERE result = '' AND due_ns <= ?"
        waiting, oldest_ns = self._open.execute(statement, (now_ns,))[0]
        return NoticesStanding(waiting, oldest_ns or 0)

    def rests(self, due_ns: int, after: str, limit: int) -> list[Notice]:
        statement = f"SELECT {COLUMNS} FROM notices WHERE result = '' AND due_ns = ? AND id > ? ORDER BY id LIMIT ?"  # noqa: S608  # a constant
        return [Notice(*row) for row in self._open.execute(statement, (due_ns, after, limit))]

    def hasten(self, notice_id: str, due_ns: int, now_ns: int) -> bool:
        statement = (
            "UPDATE notices SET due_ns = ?, until_ns = ? + until_ns - made_ns, made_ns = ?"
            " WHERE id = ? AND due_ns = ? AND result = '' RETURNING id"
        )
        return bool(self._open.execute(statement, (now_ns, now_ns, now_ns, notice_id, due_ns)))

    def forget(self, now_ns: int) -> int:
        return len(self._open.execute("DELETE FROM notices WHERE keep_ns <= ? RETURNING id", (now_ns,)))


class SqliteNotices(KeptNotices):
    """Of one node."""

    def __init__(self, file: NoticeFile) -> None:
        super().__init__(file)
