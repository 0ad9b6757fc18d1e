"""Notices in a store that blocks: on a thread of its own, its errors in the words of reviews."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, fields
from typing import Any, Protocol, TypeVar

from router.errors import AuditError, ReviewError
from router.ports import Notice, NoticesStanding

COLUMNS = ", ".join(each.name for each in fields(Notice))
T = TypeVar("T")


class NoticeCore(Protocol):
    """What `router.ports.Notices` says, blocking; one thread at a time. Raises AuditError where the store does not answer."""

    def open(self) -> None: ...

    def close(self) -> None: ...

    def add(self, notices: Sequence[Notice]) -> None: ...

    def lease(self, owner: str, now_ns: int, until_ns: int, limit: int) -> list[Notice]: ...

    def postpone(self, owner: str, notice_id: str, attempts: int, due_ns: int, reason: str) -> bool: ...

    def end(self, owner: str, notice_id: str, result: str, reason: str) -> bool: ...

    def standing(self, now_ns: int) -> NoticesStanding: ...

    def rests(self, due_ns: int, after: str, limit: int) -> list[Notice]: ...

    def hasten(self, notice_id: str, due_ns: int, now_ns: int) -> bool: ...

    def forget(self, now_ns: int) -> int: ...


class KeptNotices:
    """Implements `router.ports.Notices`."""

    def __init__(self, core: NoticeCore) -> None:
        self._core = core
        self._thread = ThreadPoolExecutor(1, "notices")

    async def open(self) -> None:
        await self._run(self._core.open)

    async def close(self) -> None:
        """Twice is harmless."""
        await asyncio.to_thread(self._thread.shutdown)
        self._core.close()

    async def add(self, notices: Sequence[Notice]) -> None:
        await self._run(lambda: self._core.add(notices))

    async def lease(self, owner: str, now_ns: int, until_ns: int, limit: int) -> Sequence[Notice]:
        return await self._run(lambda: self._core.lease(owner, now_ns, until_ns, limit))

    async def postpone(self, owner: str, notice_id: str, attempts: int, due_ns: int, reason: str) -> bool:
        return await self._run(lambda: self._core.postpone(owner, notice_id, attempts, due_ns, reason))

    async def end(self, owner: str, notice_id: str, result: str, reason: str) -> bool:
        return await self._run(lambda: self._core.end(owner, notice_id, result, reason))

    async def standing(self, now_ns: int) -> NoticesStanding:
        return await self._run(lambda: self._core.standing(now_ns))

    async def rests(self, due_ns: int, after: str, limit: int) -> Sequence[Notice]:
        return await self._run(lambda: self._core.rests(due_ns, after, limit))

    async def hasten(self, notice_id: str, due_ns: int, now_ns: int) -> bool:
        return await self._run(lambda: self._core.hasten(notice_id, due_ns, now_ns))

    async def forget(self, now_ns: int) -> int:
        return await self._run(lambda: self._core.forget(now_ns))

    async def _run(self, job: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, job)
        except AuditError as error:
            raise ReviewError(f"The store of notices does not answer: {error}") from error
        except RuntimeError as error:
            raise ReviewError("The store of notices is closed.", "review_store_closed") from error


def row_of(notice: Notice) -> tuple[Any, ...]:
    """In the order of `COLUMNS`."""
    return astuple(notice)
