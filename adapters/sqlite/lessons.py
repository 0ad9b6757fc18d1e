"""What is learnt in one SQLite file: WAL, `synchronous=FULL`, every step one transaction with the records that wait for the ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from adapters.kept_lessons import CLOSED, COLUMNS, LAST, KeptLessons, lesson_from, terms_of
from adapters.sqlite.kept_file import KeptFile
from adapters.sqlite.migrations import Steps
from router.errors import StateError
from router.ports import Entry, Lesson

STEPS: Steps = {
    1: (
        "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
        "CREATE TABLE IF NOT EXISTS lessons (place INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, id TEXT NOT NULL,"
        " about TEXT NOT NULL, state TEXT NOT NULL, version INTEGER NOT NULL, at_ns INTEGER NOT NULL, terms TEXT NOT NULL,"
        " UNIQUE (kind, id)) STRICT",
        "CREATE INDEX IF NOT EXISTS lessons_about ON lessons (kind, about)",
        "CREATE INDEX IF NOT EXISTS lessons_state ON lessons (kind, state)",
        "CREATE TABLE IF NOT EXISTS texts (kind TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, key_id TEXT NOT NULL,"
        " sealed BLOB NOT NULL, PRIMARY KEY (kind, id, name)) STRICT",
        "CREATE INDEX IF NOT EXISTS texts_key ON texts (key_id)",
        # Gone from here once they are in the ledger.
        "CREATE TABLE IF NOT EXISTS entries (number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, id TEXT NOT NULL,"
        " leaf BLOB NOT NULL, sealed BLOB NOT NULL, key_id TEXT NOT NULL, owner TEXT NOT NULL, until_ns INTEGER NOT NULL) STRICT",
    ),
    2: ("CREATE INDEX lessons_kind ON lessons (kind, place)",),
}


class LessonFile(KeptFile):
    """What is removed is overwritten: texts of people who were erased are among it."""

    steps = STEPS

    def closed(self) -> StateError:
        return StateError(f"The store of what is learnt {self._path} is not open.", CLOSED)

    def put(self, lesson: Lesson, entries: Sequence[Entry], owner: str, until_ns: int) -> bool:
        with self._transaction() as run:
            if not self._written(run, lesson):
                return False
            run("DELETE FROM texts WHERE kind = ? AND id = ?", (lesson.kind, lesson.id))
            for text in lesson.texts:
                run("INSERT INTO texts VALUES (?,?,?,?,?)", (lesson.kind, lesson.id, text.name, text.key_id, text.sealed))
            for entry in entries:
                row = (lesson.kind, lesson.id, entry.leaf, entry.sealed, entry.key_id, owner, until_ns)
                run("INSERT INTO entries (kind, id, leaf, sealed, key_id, owner, until_ns) VALUES (?,?,?,?,?,?,?)", row)
        return True

    def get(self, kind: str, lesson_id: str) -> Lesson | None:
        found = self._found("kind = ? AND id = ?", (kind, lesson_id))
        return found[0][1] if found else None

    def about(self, kind: str, what: str) -> list[Lesson]:
        return [lesson for _, lesson in self._found("kind = ? AND about = ? ORDER BY place", (kind, what))]

    def page(self, kind: str, states: Sequence[str], after: int, limit: int) -> list[tuple[int, Lesson]]:
        wanted = f" AND state IN ({','.join('?' * len(states))})" if states else ""
        return self._found(f"kind = ? AND place > ?{wanted} ORDER BY place LIMIT ?", (kind, after, *states, limit))

    def newest(self, kind: str, before: int | None, limit: int) -> list[tuple[int, Lesson]]:
        return self._found("kind = ? AND place < ? ORDER BY place DESC LIMIT ?", (kind, LAST if before is None else before, limit))

    def sealed_under(self, key_id: str) -> list[Lesson]:
        return [
            lesson for _, lesson in self._found("(kind, id) IN (SELECT kind, id FROM texts WHERE key_id = ?) ORDER BY place", (key_id,))
        ]

    def unrecorded(self, owner: str, now_ns: int, until_ns: int, limit: int) -> list[tuple[int, Entry]]:
        rows = self._open.execute(
            "UPDATE entries SET owner = ?, until_ns = ? WHERE number IN (SELECT number FROM entries WHERE owner = ? OR until_ns <= ?"
            " ORDER BY number LIMIT ?) RETURNING number, leaf, sealed, key_id",
            (owner, until_ns, owner, now_ns, limit),
        )
        return [(number, Entry(leaf, sealed, key_id)) for number, leaf, sealed, key_id in sorted(rows)]

    def recorded(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._open.execute("DELETE FROM entries WHERE number = ?", (number,))

    def waiting(self, kind: str, lesson_id: str) -> bool:
        return bool(self._open.execute("SELECT 1 FROM entries WHERE kind = ? AND id = ? LIMIT 1", (kind, lesson_id)))

    @staticmethod
    def _written(run: Callable[..., list[Any]], lesson: Lesson) -> bool:
        told = (lesson.about, lesson.state, lesson.version + 1, lesson.at_ns, terms_of(lesson))
        if lesson.version:
            statement = (
                "UPDATE lessons SET about = ?, state = ?, version = ?, at_ns = ?, terms = ? WHERE kind = ? AND id = ? AND version = ?"
            )
            return bool(run(f"{statement} RETURNING place", (*told, lesson.kind, lesson.id, lesson.version)))
        statement = "INSERT INTO lessons (about, state, version, at_ns, terms, kind, id) VALUES (?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"
        return bool(run(f"{statement} RETURNING place", (*told, lesson.kind, lesson.id)))

    def _found(self, condition: str, parameters: Sequence[Any]) -> list[tuple[int, Lesson]]:
        rows = self._open.execute(f"SELECT {COLUMNS} FROM lessons WHERE {condition}", parameters)  # noqa: S608  # constants
        return [lesson_from(row, self._texts(row[1], row[2]), self._path) for row in rows]

    def _texts(self, kind: str, lesson_id: str) -> list[Any]:
        return self._open.execute("SELECT name, key_id, sealed FROM texts WHERE kind = ? AND id = ? ORDER BY rowid", (kind, lesson_id))


class SqliteLessons(KeptLessons):
    """Of one node."""

    def __init__(self, file: LessonFile) -> None:
        super().__init__(file)
