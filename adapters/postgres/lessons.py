"""What is learnt in PostgreSQL tables that several nodes share: every step is one transaction with the records that wait for the ledger,
and a compare and set. Times of leases are the nodes' own: their clocks agree as far as the ledger wants it, and a lease that two believe to
have costs the same record twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, TypeVar

from adapters.kept_lessons import CLOSED, COLUMNS, LAST, KeptLessons, lesson_from, terms_of
from adapters.postgres.connection import BoundedConnection, Server
from adapters.postgres.kept_tables import KeptTables
from adapters.postgres.schema import LEARNING, LEARNING_STEPS
from router.errors import StateError
from router.ports import Entry, Lesson

T = TypeVar("T")
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
_KNOWN = "SELECT version, terms, state, at_ns FROM lessons WHERE kind = %s AND id = %s FOR UPDATE"
_UPDATE = "UPDATE lessons SET about = %s, state = %s, version = %s, at_ns = %s, terms = %s, touched_ns = %s WHERE kind = %s AND id = %s"
_INSERT = "INSERT INTO lessons (about, state, version, at_ns, terms, touched_ns, kind, id) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
_LEASE = (
    "UPDATE lesson_entries SET owner = %s, until_ns = %s WHERE number IN (SELECT number FROM lesson_entries WHERE owner = %s"
    " OR until_ns <= %s ORDER BY number LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING number, leaf, sealed, key_id"
)


class LessonTables(KeptTables):
    """The blocking core; one thread at a time. Everything may be asked again after its answer was lost."""

    part = (LEARNING, LEARNING_STEPS)

    def closed(self) -> StateError:
        return StateError("The store of what is learnt is not open.", CLOSED)

    def put(self, lesson: Lesson, entries: Sequence[Entry], owner: str, until_ns: int) -> bool:
        def done(connection: BoundedConnection) -> bool:
            with connection.transaction():
                # One at a time, so that who has read a page has read all places before its last.
                connection.execute(_LOCK, (f"lockgate learning {self._server.schema}",))
                known = connection.rows(_KNOWN, (lesson.kind, lesson.id))
                version = known[0][0] if known else 0
                if version != lesson.version:
                    # Where the answer to our own commit was lost, this is what we wrote.
                    return bool(version == lesson.version + 1 and known[0][1:] == (terms_of(lesson), lesson.state, lesson.at_ns))
                told = (lesson.about, lesson.state, lesson.version + 1, lesson.at_ns, terms_of(lesson), lesson.touched_ns)
                connection.execute(_UPDATE if known else _INSERT, (*told, lesson.kind, lesson.id))
                _note(connection, lesson, entries, owner, until_ns)
                return True

        return self._run(done)

    def get(self, kind: str, lesson_id: str) -> Lesson | None:
        found = self._found("kind = %s AND id = %s", (kind, lesson_id))
        return found[0][1] if found else None

    def about(self, kind: str, what: str) -> list[Lesson]:
        return [lesson for _, lesson in self._found("kind = %s AND about = %s ORDER BY place", (kind, what))]

    def page(self, kind: str, states: Sequence[str], after: int, limit: int) -> list[tuple[int, Lesson]]:
        wanted = " AND state = ANY(%s)" if states else ""
        parameters = (kind, after, list(states), limit) if states else (kind, after, limit)
        return self._found(f"kind = %s AND place > %s{wanted} ORDER BY place LIMIT %s", parameters)

    def newest(self, kind: str, before: int | None, limit: int) -> list[tuple[int, Lesson]]:
        return self._found("kind = %s AND place < %s ORDER BY place DESC LIMIT %s", (kind, LAST if before is None else before, limit))

    def touched(self, kind: str, since_ns: int, after: int, limit: int) -> list[tuple[int, Lesson]]:
        return self._found(
            "kind = %s AND (touched_ns, place) > (%s, %s) ORDER BY touched_ns, place LIMIT %s", (kind, since_ns, after, limit)
        )

    def sealed_under(self, key_id: str) -> list[Lesson]:
        condition = "(kind, id) IN (SELECT kind, id FROM lesson_texts WHERE key_id = %s) ORDER BY place"
        return [lesson for _, lesson in self._found(condition, (key_id,))]

    def unrecorded(self, owner: str, now_ns: int, until_ns: int, limit: int) -> list[tuple[int, Entry]]:
        rows = self._run(lambda connection: connection.rows(_LEASE, (owner, until_ns, owner, now_ns, limit)))
        return [(number, Entry(bytes(leaf), bytes(sealed), key_id)) for number, leaf, sealed, key_id in sorted(rows)]

    def recorded(self, numbers: Sequence[int]) -> None:
        self._run(lambda connection: connection.execute("DELETE FROM lesson_entries WHERE number = ANY(%s)", (list(numbers),)))

    def waiting(self, kind: str, lesson_id: str) -> bool:
        statement = "SELECT 1 FROM lesson_entries WHERE kind = %s AND id = %s LIMIT 1"
        return bool(self._run(lambda connection: connection.rows(statement, (kind, lesson_id))))

    def _found(self, condition: str, parameters: Sequence[Any]) -> list[tuple[int, Lesson]]:
        def read(connection: BoundedConnection) -> list[tuple[int, Lesson]]:
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")  # a lesson and its texts are of one version
                rows = connection.rows(f"SELECT {COLUMNS} FROM lessons WHERE {condition}", parameters)  # noqa: S608  # constants
                texts: dict[tuple[str, str], list[Any]] = defaultdict(list)
                statement = "SELECT kind, id, name, key_id, sealed FROM lesson_texts WHERE id = ANY(%s) ORDER BY number"
                for kind, lesson_id, *text in connection.rows(statement, ([row[2] for row in rows],)):
                    texts[kind, lesson_id].append(text)
            place = f"the schema {self._server.schema} of {self._server}"
            return [lesson_from(row, texts[row[1], row[2]], place) for row in rows]

        return self._run(read)


def _note(connection: BoundedConnection, lesson: Lesson, entries: Sequence[Entry], owner: str, until_ns: int) -> None:
    connection.execute("DELETE FROM lesson_texts WHERE kind = %s AND id = %s", (lesson.kind, lesson.id))
    for text in lesson.texts:
        row = (lesson.kind, lesson.id, text.name, text.key_id, text.sealed)
        connection.execute("INSERT INTO lesson_texts (kind, id, name, key_id, sealed) VALUES (%s, %s, %s, %s, %b)", row)
    for entry in entries:
        told = (lesson.kind, lesson.id, entry.leaf, entry.sealed, entry.key_id, owner, until_ns)
        connection.execute(
            "INSERT INTO lesson_entries (kind, id, leaf, sealed, key_id, owner, until_ns) VALUES (%s, %s, %b, %b, %s, %s, %s)", told
        )


class PostgresLessons(KeptLessons):
    """Of several nodes."""

    def __init__(self, server: Server, patience: float = 5.0) -> None:
        super().__init__(LessonTables(server, patience))
