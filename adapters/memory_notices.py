"""The twin of the notices' stores, without a disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from router.ports import Notice, NoticesStanding


@dataclass(slots=True)
class _Row:
    notice: Notice
    owner: str = ""
    leased_ns: int = 0
    result: str = ""
    reason: str = ""


class MemoryNotices:
    """Implements `router.ports.Notices`. `rows` by id."""

    def __init__(self) -> None:
        self.rows: dict[str, _Row] = {}

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def add(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            self.rows.setdefault(notice.id, _Row(notice))

    async def lease(self, owner: str, now_ns: int, until_ns: int, limit: int) -> Sequence[Notice]:
        due = [row for row in self.rows.values() if not row.result and row.notice.due_ns <= now_ns and row.leased_ns <= now_ns]
        taken = sorted(due, key=lambda row: row.notice.due_ns)[:limit]
        for row in taken:
            row.owner, row.leased_ns = owner, until_ns
        return [row.notice for row in taken]

    async def postpone(self, owner: str, notice_id: str, attempts: int, due_ns: int, reason: str) -> bool:
        row = self._ours(owner, notice_id)
        if row is not None:
            row.notice, row.leased_ns, row.reason = replace(row.notice, attempts=attempts, due_ns=due_ns), 0, reason
        return row is not None

    async def end(self, owner: str, notice_id: str, result: str, reason: str) -> bool:
        row = self._ours(owner, notice_id)
        if row is not None:
            row.result, row.reason = result, reason
        return row is not None

    async def standing(self, now_ns: int) -> NoticesStanding:
        due = [row.notice.due_ns for row in self.rows.values() if not row.result and row.notice.due_ns <= now_ns]
        return NoticesStanding(len(due), min(due, default=0))

    async def rests(self, due_ns: int, after: str, limit: int) -> Sequence[Notice]:
        found = [row.notice for row in self.rows.values() if not row.result and row.notice.due_ns == due_ns and row.notice.id > after]
        return sorted(found, key=lambda notice: notice.id)[:limit]

    async def hasten(self, notice_id: str, due_ns: int, now_ns: int) -> bool:
        row = self.rows.get(notice_id)
        if row is None or row.result or row.notice.due_ns != due_ns:
            return False
        until_ns = now_ns + row.notice.until_ns - row.notice.made_ns
        row.notice = replace(row.notice, due_ns=now_ns, until_ns=until_ns, made_ns=now_ns)
        return True

    async def forget(self, now_ns: int) -> int:
        old = [row.notice.id for row in self.rows.values() if row.notice.keep_ns <= now_ns]
        for notice_id in old:
            del self.rows[notice_id]
        return len(old)

    def _ours(self, owner: str, notice_id: str) -> _Row | None:
        row = self.rows.get(notice_id)
        return row if row is not None and row.owner == owner and not row.result else None
