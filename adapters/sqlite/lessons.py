"""What is learnt in one SQLite file: WAL, `synchronous=FULL`, every step one transaction with the records that wait for the ledger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
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
    3: (
        "ALTER TABLE lessons ADD COLUMN touched_ns INTEGER NOT NULL DEFAULT 0",
        "UPDATE lessons SET touched_ns = coalesce((SELECT max(value ->> '$.at_ns') FROM json_each(terms, '$.answers')), 0)"
        " WHERE kind IN ('label_task', 'label_seed')",
        "CREATE INDEX lessons_touched ON lessons (kind, touched_ns, place)",
    ),
}
TEXTS_AT_ONCE = 400


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

    def touched(self, kind: str, since_ns: int, after: int, limit: int) -> list[tuple[int, Lesson]]:
        condition = "kind = ? AND (touched_ns, place) > (?, ?) ORDER BY touched_ns, place LIMIT ?"
        return self._found(condition, (kind, since_ns, after, limit))

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
        told = (lesson.about, lesson.state, lesson.version + 1, lesson.at_ns, terms_of(lesson), lesson.touched_ns)
        if lesson.version:
            statement = (
                "UPDATE lessons SET about = ?, state = ?, version = ?, at_ns = ?, terms = ?, touched_ns = ?"
                " WHERE kind = ? AND id = ? AND version = ?"
            )
            return bool(run(f"{statement} RETURNING place", (*told, lesson.kind, lesson.id, lesson.version)))
        columns = "(about, state, version, at_ns, terms, touched_ns, kind, id)"
        statement = f"INSERT INTO lessons {columns} VALUES (?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"  # noqa: S608  # constants
        return bool(run(f"{statement} RETURNING place", (*told, lesson.kind, lesson.id)))

    def _found(self, condition: str, parameters: Sequence[Any]) -> list[tuple[int, Lesson]]:
        rows = self._open.execute(f"SELECT {COLUMNS} FROM lessons WHERE {condition}", parameters)  # noqa: S608  # constants
        texts = self._texts([(row[1], row[2]) for row in rows])
        return [lesson_from(row, texts[row[1], row[2]], self._path) for row in rows]

    def _texts(self, wanted: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], list[Any]]:
        found: dict[tuple[str, str], list[Any]] = defaultdict(list)
        for kind in {kind for kind, _ in wanted}:
            ids = [lesson_id for each, lesson_id in wanted if each == kind]
            for some in (ids[at : at + TEXTS_AT_ONCE] for at in range(0, len(ids), TEXTS_AT_ONCE)):
                marks = ",".join("?" * len(some))
                statement = f"SELECT id, name, key_id, sealed FROM texts WHERE kind = ? AND id IN ({marks}) ORDER BY rowid"  # noqa: S608 - names of ours
                for lesson_id, *text in self._open.execute(statement, (kind, *some)):
                    found[kind, lesson_id].append(text)
        return found


class SqliteLessons(KeptLessons):
    """Of one node."""

    def __init__(self, file: LessonFile) -> None:
        super().__init__(file)
