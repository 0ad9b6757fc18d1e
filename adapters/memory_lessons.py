"""The in-memory twin of the store of what is learnt: nothing is durable. For tests of everything that needs one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from adapters.kept_lessons import CLOSED, following, terms_of
from router.errors import StateError
from router.ports import Entry, Lesson


@dataclass(slots=True)
class _Waiting:
    of: tuple[str, str]
    entry: Entry
    owner: str
    until_ns: int


class MemoryLessons:
    """`failing`, when set, is what every call raises."""

    def __init__(self) -> None:
        self.failing: StateError | None = None
        self._lessons: dict[tuple[str, str], Lesson] = {}
        self._entries: dict[int, _Waiting] = {}
        self._numbers = 0
        self._open = False

    async def open(self) -> None:
        self._open = True

    async def close(self) -> None:
        self._open = False

    async def put(self, lesson: Lesson, entries: Sequence[Entry], owner: str, until_ns: int) -> bool:
        lessons, key = self._usable(), (lesson.kind, lesson.id)
        known = lessons.get(key)
        if (known.version if known is not None else 0) != lesson.version:
            return False
        lessons[key] = following(replace(lesson, terms=json.loads(terms_of(lesson))))
        for entry in entries:
            self._numbers += 1
            self._entries[self._numbers] = _Waiting(key, entry, owner, until_ns)
        return True

    async def get(self, kind: str, lesson_id: str) -> Lesson | None:
        return self._usable().get((kind, lesson_id))

    async def about(self, kind: str, what: str) -> Sequence[Lesson]:
        return [lesson for lesson in self._usable().values() if (lesson.kind, lesson.about) == (kind, what)]

    async def page(self, kind: str, states: Sequence[str], after: int, limit: int) -> Sequence[tuple[int, Lesson]]:
        placed = enumerate(self._usable().values(), start=1)
        wanted = [(at, each) for at, each in placed if at > after and each.kind == kind and (not states or each.state in states)]
        return wanted[:limit]

    async def newest(self, kind: str, before: int | None, limit: int) -> Sequence[tuple[int, Lesson]]:
        placed = enumerate(self._usable().values(), start=1)
        wanted = [(at, each) for at, each in placed if (before is None or at < before) and each.kind == kind]
        return wanted[::-1][:limit]

    async def touched(self, kind: str, since_ns: int, after: int, limit: int) -> Sequence[tuple[int, Lesson]]:
        placed = enumerate(self._usable().values(), start=1)
        wanted = [(at, each) for at, each in placed if each.kind == kind and (each.touched_ns, at) > (since_ns, after)]
        return sorted(wanted, key=lambda found: (found[1].touched_ns, found[0]))[:limit]

    async def sealed_under(self, key_id: str) -> Sequence[Lesson]:
        return [lesson for lesson in self._usable().values() if any(text.key_id == key_id for text in lesson.texts)]

    async def unrecorded(self, owner: str, now_ns: int, until_ns: int, limit: int) -> Sequence[tuple[int, Entry]]:
        self._usable()
        due = [(at, each) for at, each in self._entries.items() if each.owner == owner or each.until_ns <= now_ns][:limit]
        for _, each in due:
            each.owner, each.until_ns = owner, until_ns
        return [(at, each.entry) for at, each in due]

    async def recorded(self, numbers: Sequence[int]) -> None:
        self._usable()
        for number in numbers:
            self._entries.pop(number, None)

    async def waiting(self, kind: str, lesson_id: str) -> bool:
        self._usable()
        return any(each.of == (kind, lesson_id) for each in self._entries.values())

    def _usable(self) -> dict[tuple[str, str], Lesson]:
        if self.failing is not None:
            raise StateError(str(self.failing), self.failing.code)
        if not self._open:
            raise StateError("The store of what is learnt is not open.", CLOSED)
        return self._lessons
