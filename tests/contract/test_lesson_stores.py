"""What every store of what is learnt promises, run over each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.kept_lessons import KeptLessons
from adapters.memory_lessons import MemoryLessons
from adapters.postgres.lessons import PostgresLessons
from adapters.sqlite.lessons import LessonFile, SqliteLessons
from router.errors import StateError
from router.ports import Entry, LearntText, Lesson

Store = KeptLessons | MemoryLessons
TEXTS = (LearntText("b", "k1", b"\x00one"), LearntText("a", "k2", b"two"))
LESSON = Lesson("proposal", "p1", "", "draft", 10, {"intent": "cancel", "counts": [1, 2]}, TEXTS)
ENTRY = Entry(b'{"n":1}', b"sealed", "k1")


@pytest.fixture(params=["sqlite", "postgres", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made: Store
    if request.param == "postgres":
        made = PostgresLessons(request.getfixturevalue("postgres").server())
    else:
        made = MemoryLessons() if request.param == "memory" else SqliteLessons(LessonFile(tmp_path / "learning.sqlite"))
    await made.open()
    yield made
    await made.close()


async def put(store: Store, lesson: Lesson, *entries: Entry, until_ns: int = 100) -> bool:
    return await store.put(lesson, entries, "one", until_ns)


async def test_a_lesson_comes_back_whole(store: Store) -> None:
    """With its texts in their order, as version 1."""
    assert await put(store, LESSON)
    assert await store.get("proposal", "p1") == replace(LESSON, version=1)
    assert await store.get("feedback", "p1") is None


async def test_who_read_an_older_version_changes_nothing(store: Store) -> None:
    """Neither the lesson nor its texts, and no record waits."""
    assert await put(store, LESSON)
    assert await put(store, replace(LESSON, state="approved", texts=(), version=1, at_ns=11))
    late = replace(LESSON, state="rejected", version=1, at_ns=12)
    assert not await put(store, late, ENTRY)
    assert not await put(store, replace(LESSON, at_ns=13), ENTRY)
    found = await store.get("proposal", "p1")
    assert found is not None
    assert (found.state, found.texts, found.version) == ("approved", (), 2)
    assert await store.unrecorded("one", 0, 100, 9) == []


async def test_a_lesson_that_is_not_there_has_no_second_version(store: Store) -> None:
    """What was lost is not made again half."""
    assert not await put(store, replace(LESSON, version=3))
    assert await store.get("proposal", "p1") is None


async def test_of_many_that_put_at_once_one_does(store: Store) -> None:
    """The others hear so."""
    assert await put(store, LESSON)
    tries = [replace(LESSON, state=f"state_{number}", version=1) for number in range(8)]
    done = await asyncio.gather(*(put(store, each) for each in tries))
    assert done.count(True) == 1
    found = await store.get("proposal", "p1")
    assert found is not None
    assert found.state == tries[done.index(True)].state


async def test_pages_are_in_the_order_of_arrival_and_change_not(store: Store) -> None:
    """A later version stays in the place of the first."""
    for number in range(5):
        await put(store, replace(LESSON, id=f"p{number}", state="draft" if number % 2 else "approved"))
    await put(store, replace(LESSON, kind="feedback", id="x"))
    await put(store, replace(LESSON, id="p0", state="draft", version=1))
    first = await store.page("proposal", [], 0, 2)
    rest = await store.page("proposal", [], first[-1][0], 9)
    assert [each.id for _, each in (*first, *rest)] == [f"p{number}" for number in range(5)]
    assert [each.id for _, each in await store.page("proposal", ["draft"], 0, 9)] == ["p0", "p1", "p3"]


async def test_the_newest_come_page_by_page_as_well(store: Store) -> None:
    """Backwards in the same order, of one kind only."""
    for number in range(4):
        await put(store, replace(LESSON, id=f"p{number}"))
        await put(store, replace(LESSON, kind="feedback", id=f"f{number}"))
    first = await store.newest("proposal", None, 3)
    assert [each.id for _, each in first] == ["p3", "p2", "p1"]
    assert [each.id for _, each in await store.newest("proposal", first[-1][0], 3)] == ["p0"]
    assert await store.newest("topic", None, 3) == []


async def test_what_was_touched_comes_in_the_order_of_that(store: Store) -> None:
    """From a moment on, page by page; what nobody touched, and another kind, does not; touched again it moves on."""
    for number, at in enumerate((30, 0, 10, 20, 20)):
        await put(store, replace(LESSON, id=f"p{number}", touched_ns=at))
    await put(store, replace(LESSON, kind="feedback", id="x", touched_ns=25))
    first = await store.touched("proposal", 10, 0, 2)
    assert [each.id for _, each in first] == ["p2", "p3"]
    assert first[0][1] == replace(LESSON, id="p2", touched_ns=10, version=1)
    place, last = first[-1]
    assert [each.id for _, each in await store.touched("proposal", last.touched_ns, place, 9)] == ["p4", "p0"]
    await put(store, replace(LESSON, id="p2", touched_ns=40, version=1))
    assert [each.id for _, each in await store.touched("proposal", 11, 0, 9)] == ["p3", "p4", "p0", "p2"]


async def test_what_is_about_one_thing_is_found_by_it(store: Store) -> None:
    """And nothing of another kind."""
    await put(store, replace(LESSON, kind="feedback", id="d1:k1", about="d1"))
    await put(store, replace(LESSON, kind="feedback", id="d1:k2", about="d1"))
    await put(store, replace(LESSON, kind="feedback", id="d2:k1", about="d2"))
    await put(store, replace(LESSON, about="d1"))
    assert [each.id for each in await store.about("feedback", "d1")] == ["d1:k1", "d1:k2"]


async def test_lessons_with_texts_under_a_key_are_found_by_it(store: Store) -> None:
    """Until the texts are gone."""
    await put(store, LESSON)
    await put(store, replace(LESSON, id="p2", texts=TEXTS[1:]))
    assert [each.id for each in await store.sealed_under("k1")] == ["p1"]
    await put(store, replace(LESSON, texts=TEXTS[1:], version=1))
    assert await store.sealed_under("k1") == []
    assert [each.id for each in await store.sealed_under("k2")] == ["p1", "p2"]


async def test_a_record_waits_until_it_is_recorded(store: Store) -> None:
    """With whoever put it, in order."""
    second = Entry(b'{"n":2}')
    await put(store, LESSON, ENTRY, second)
    found = await store.unrecorded("one", 0, 100, 9)
    assert [entry for _, entry in found] == [ENTRY, second]
    assert await store.waiting("proposal", "p1")
    assert not await store.waiting("feedback", "p1")
    await store.recorded([number for number, _ in found])
    assert await store.unrecorded("one", 0, 100, 9) == []
    assert not await store.waiting("proposal", "p1")


async def test_another_one_has_a_record_once_the_lease_is_over(store: Store) -> None:
    """Then it is theirs; not a moment before."""
    await put(store, LESSON, ENTRY, until_ns=100)
    assert await store.unrecorded("two", 99, 200, 9) == []
    assert len(await store.unrecorded("two", 100, 200, 9)) == 1
    assert await store.unrecorded("one", 150, 300, 9) == []


async def test_no_more_records_than_asked_for(store: Store) -> None:
    """The oldest first."""
    await put(store, LESSON, *(Entry(b'{"n":%d}' % number) for number in range(4)))
    assert [entry.leaf for _, entry in await store.unrecorded("one", 0, 100, 2)] == [b'{"n":0}', b'{"n":1}']


async def test_a_closed_store_says_so(store: Store) -> None:
    """With its own code, also after it was closed twice."""
    await store.close()
    await store.close()
    with pytest.raises(StateError) as told:
        await store.get("proposal", "p1")
    assert told.value.code == "learning_store_closed"


async def test_what_is_durable_is_there_after_a_restart(tmp_path: Path) -> None:
    """Texts and waiting records, too."""
    first = SqliteLessons(LessonFile(tmp_path / "learning.sqlite"))
    await first.open()
    await put(first, LESSON, ENTRY)
    await first.close()
    second = SqliteLessons(LessonFile(tmp_path / "learning.sqlite"))
    await second.open()
    assert await second.get("proposal", "p1") == replace(LESSON, version=1)
    assert [entry for _, entry in await second.unrecorded("two", 100, 200, 9)] == [ENTRY]
    await second.close()
