"""Files and tables that the release before made are brought to today's form, with what is held in them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from adapters.sqlite.reviews import FIRST, ReviewFile, SqliteReviews
from router.ports import Change
from tests.contract.test_review_stores import HELD_STEP, held, step


def made_before(path: Path) -> None:
    """As the release before kept a request that waits, and one that is done."""
    with closing(sqlite3.connect(path)) as file:
        for statement in (each for each in FIRST if " meta " not in each):
            file.execute(statement)
        for name, state in (("d1", "pending"), ("d2", "done")):
            row = held(name)
            terms = json.dumps({field: getattr(row, field) for field in type(row).__slots__ if field != "sealed"}, default=dict)
            file.execute(
                "INSERT INTO reviews (id, state, version, expires_ns, terms, sealed) VALUES (?,?,1,?,?,?)",
                (name, state, row.expires_ns, terms, row.sealed),
            )
            file.execute("INSERT INTO history VALUES (?,0,?,?,?,?,1)", (name, "held", "", "pending", 10))
        file.commit()


async def test_a_file_of_the_release_before_goes_on(tmp_path: Path) -> None:
    """What waits is due at its end, as before; and is decided about with today's steps."""
    path = tmp_path / "reviews.sqlite"
    made_before(path)
    for _ in range(2):  # the second time there is nothing to do
        store = SqliteReviews(ReviewFile(path))
        await store.open()
        assert list(await store.due(99, ["pending"])) == []
        assert list(await store.due(100, ["pending"])) == ["d1"]
        await store.close()
    store = SqliteReviews(ReviewFile(path))
    await store.open()
    found = await store.get("d1")
    assert found is not None
    assert (found.held, [each.event for each in found.history]) == (held("d1"), ["held"])
    assert await store.change("d1", 1, step("claimed", after="assigned"), due_ns=40)
    await store.add(held("d3"), HELD_STEP)
    assert list(await store.due(40, ["assigned"])) == ["d1"]
    await store.close()


async def test_an_interrupted_migration_has_not_happened(tmp_path: Path) -> None:
    """A file that is half made by an older release is finished, too."""
    path = tmp_path / "reviews.sqlite"
    with closing(sqlite3.connect(path)) as file:
        file.execute(FIRST[0])
        file.commit()
    store = SqliteReviews(ReviewFile(path))
    await store.open()
    await store.add(held(), Change("held", "", "pending", 10))
    assert await store.count(["pending"]) == 1
    await store.close()
