"""What was learnt before it was kept when people last said something."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adapters.kept_lessons import KeptLessons
from adapters.postgres.connection import connect
from adapters.postgres.lessons import PostgresLessons
from adapters.postgres.schema import LEARNING, LEARNING_STEPS, migrate
from adapters.sqlite.connection import connect as connect_file
from adapters.sqlite.lessons import STEPS, LessonFile, SqliteLessons
from adapters.sqlite.migrations import migrate as migrate_file
from tests.postgres_server import PostgresServer

NOW = 1_795_000_000_000_000_000


def rows() -> list[tuple[Any, ...]]:
    """Said twice, once, never; and of a kind that nobody labels."""
    answers = [{"a": NOW, "b": NOW + 7}, {"a": NOW + 3}, {}, {"a": NOW}]
    told = [{"answers": {name: {"at_ns": at, "dwell_ns": 1} for name, at in each.items()}, "tenant": "l\ud800nd"} for each in answers]
    kinds = ("label_task", "label_seed", "label_task", "proposal")
    numbered = enumerate(zip(kinds, told, strict=True))
    return [(kind, f"t{number}", "", "done", 1, 5, json.dumps(terms, sort_keys=True)) for number, (kind, terms) in numbered]


async def touched(store: KeptLessons) -> dict[str, list[tuple[str, int]]]:
    await store.open()
    kinds = ("label_task", "label_seed", "proposal")
    found = {kind: [(each.id, each.touched_ns) for _, each in await store.touched(kind, 1, 0, 9)] for kind in kinds}
    await store.close()
    return found


EXPECTED = {"label_task": [("t0", NOW + 7)], "label_seed": [("t1", NOW + 3)], "proposal": []}


async def test_a_file_of_before_knows_when_its_tasks_were_labelled(tmp_path: Path) -> None:
    """From their answers."""
    path = tmp_path / "learning.sqlite"
    connection = connect_file(path)
    migrate_file(connection, path, {number: STEPS[number] for number in (1, 2)})
    for row in rows():
        connection.execute("INSERT INTO lessons (kind, id, about, state, version, at_ns, terms) VALUES (?,?,?,?,?,?,?)", row)
    connection.close()
    assert await touched(SqliteLessons(LessonFile(path))) == EXPECTED


async def test_tables_of_before_know_when_their_tasks_were_labelled(postgres: PostgresServer) -> None:
    """Also where a text has what the database's own JSON could not hold."""
    server = postgres.server()
    connection = connect(server)
    migrate(connection, server, LEARNING, {number: LEARNING_STEPS[number] for number in (1, 2)})
    for row in rows():
        columns = "(kind, id, about, state, version, at_ns, terms)"
        connection.execute(f"INSERT INTO lessons {columns} VALUES (%s, %s, %s, %s, %s, %s, %s)", row)  # type: ignore[arg-type]
    connection.close()
    assert await touched(PostgresLessons(server)) == EXPECTED
