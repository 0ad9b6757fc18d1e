"""What is learnt, in a store that blocks: on a thread of its own, its errors in our words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from router.errors import AuditError, StateError
from router.ports import Entry, LearntText, Lesson

COLUMNS = "place, kind, id, about, state, version, at_ns, terms, touched_ns"
LAST = 2**63 - 1
"""Beyond any place."""
UNAVAILABLE, CLOSED, UNREADABLE = "learning_store_unavailable", "learning_store_closed", "learning_unreadable"
T = TypeVar("T")


class LessonCore(Protocol):
    """What `router.ports.Lessons` says, blocking; one thread at a time. Raises AuditError where the store does not answer."""

    def open(self) -> None: ...

    def close(self) -> None: ...

    def put(self, lesson: Lesson, entries: Sequence[Entry], owner: str, until_ns: int) -> bool: ...

    def get(self, kind: str, lesson_id: str) -> Lesson | None: ...

    def about(self, kind: str, what: str) -> list[Lesson]: ...

    def page(self, kind: str, states: Sequence[str], after: int, limit: int) -> list[tuple[int, Lesson]]: ...

    def newest(self, kind: str, before: int | None, limit: int) -> list[tuple[int, Lesson]]: ...

    def touched(self, kind: str, since_ns: int, after: int, limit: int) -> list[tuple[int, Lesson]]: ...

    def sealed_under(self, key_id: str) -> list[Lesson]: ...

    def unrecorded(self, owner: str, now_ns: int, until_ns: int, limit: int) -> list[tuple[int, Entry]]: ...

    def recorded(self, numbers: Sequence[int]) -> None: ...

    def waiting(self, kind: str, lesson_id: str) -> bool: ...


class KeptLessons:
    """Implements `router.ports.Lessons`."""

    def __init__(self, core: LessonCore) -> None:
        self._core = core
        self._thread = ThreadPoolExecutor(1, "learning")

    async def open(self) -> None:
        await self._run(self._core.open)

    async def close(self) -> None:
        """Twice is harmless."""
        await asyncio.to_thread(self._thread.shutdown)
        self._core.close()

    async def put(self, lesson: Lesson, entries: Sequence[Entry], owner: str, until_ns: int) -> bool:
        return await self._run(lambda: self._core.put(lesson, entries, owner, until_ns))

    async def get(self, kind: str, lesson_id: str) -> Lesson | None:
        return await self._run(lambda: self._core.get(kind, lesson_id))

    async def about(self, kind: str, what: str) -> Sequence[Lesson]:
        return await self._run(lambda: self._core.about(kind, what))

    async def page(self, kind: str, states: Sequence[str], after: int, limit: int) -> Sequence[tuple[int, Lesson]]:
        return await self._run(lambda: self._core.page(kind, states, after, limit))

    async def newest(self, kind: str, before: int | None, limit: int) -> Sequence[tuple[int, Lesson]]:
        return await self._run(lambda: self._core.newest(kind, before, limit))

    async def touched(self, kind: str, since_ns: int, after: int, limit: int) -> Sequence[tuple[int, Lesson]]:
        return await self._run(lambda: self._core.touched(kind, since_ns, after, limit))

    async def sealed_under(self, key_id: str) -> Sequence[Lesson]:
        return await self._run(lambda: self._core.sealed_under(key_id))

    async def unrecorded(self, owner: str, now_ns: int, until_ns: int, limit: int) -> Sequence[tuple[int, Entry]]:
        return await self._run(lambda: self._core.unrecorded(owner, now_ns, until_ns, limit))

    async def recorded(self, numbers: Sequence[int]) -> None:
        await self._run(lambda: self._core.recorded(numbers))

    async def waiting(self, kind: str, lesson_id: str) -> bool:
        return await self._run(lambda: self._core.waiting(kind, lesson_id))

    async def _run(self, job: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, job)
        except AuditError as error:
            raise StateError(f"The store of what is learnt does not answer: {error}", UNAVAILABLE) from error
        except RuntimeError as error:
            raise StateError("The store of what is learnt is closed.", CLOSED) from error


def terms_of(lesson: Lesson) -> str:
    """As ASCII."""
    return json.dumps(dict(lesson.terms), sort_keys=True)


def lesson_from(row: Sequence[Any], texts: Iterable[Sequence[Any]], place: Any) -> tuple[int, Lesson]:
    """A row of `COLUMNS`, and rows of (name, key id, sealed). Raises StateError."""
    number, kind, lesson_id, about, state, version, at_ns, terms, touched_ns = row
    try:
        read = json.loads(terms)
    except ValueError as error:
        raise StateError(f"What {place} keeps under {kind} {lesson_id} cannot be read.", UNREADABLE) from error
    found = tuple(LearntText(name, key_id, bytes(sealed)) for name, key_id, sealed in texts)
    return number, Lesson(kind, lesson_id, about, state, at_ns, read, found, version, touched_ns)


def following(lesson: Lesson) -> Lesson:
    """As it is stored when it is put."""
    return replace(lesson, version=lesson.version + 1)
