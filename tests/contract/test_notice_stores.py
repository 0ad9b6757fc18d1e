"""What every store of notices promises, run over each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.kept_notices import KeptNotices
from adapters.memory_notices import MemoryNotices
from adapters.postgres.notices import PostgresNotices
from adapters.sqlite.notices import NoticeFile, SqliteNotices
from router.errors import ReviewError
from router.ports import Notice, NoticesStanding

Store = KeptNotices | MemoryNotices
NOTICE = Notice("ntc_1", "0198", "held", "duty", "cancel", "high", "bank.ask", 1000, 10, 10, 60, 2000)


def numbered(number: int, due_ns: int = 10) -> Notice:
    return replace(NOTICE, id=f"ntc_{number}", due_ns=due_ns)


@pytest.fixture(params=["sqlite", "postgres", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made: Store
    if request.param == "postgres":
        made = PostgresNotices(request.getfixturevalue("postgres").server())
    else:
        made = MemoryNotices() if request.param == "memory" else SqliteNotices(NoticeFile(tmp_path / "notices.sqlite"))
    await made.open()
    yield made
    await made.close()


async def test_a_notice_comes_back_whole_when_it_is_due(store: Store) -> None:
    """Not a moment before."""
    await store.add([NOTICE])
    assert await store.lease("one", 9, 100, 9) == []
    assert await store.lease("one", 10, 100, 9) == [NOTICE]


async def test_one_that_is_known_stays_as_it_is(store: Store) -> None:
    """Also when it was told: looking at a review again tells nobody again."""
    await store.add([NOTICE, NOTICE])
    await store.lease("one", 10, 100, 9)
    assert await store.end("one", "ntc_1", "sent", "")
    await store.add([replace(NOTICE, due_ns=11)])
    assert await store.lease("one", 500, 600, 9) == []


async def test_it_is_leased_once_until_the_lease_is_over(store: Store) -> None:
    """Then whoever comes has it, and who had it has it no more."""
    await store.add([NOTICE])
    assert len(await store.lease("one", 10, 100, 9)) == 1
    assert await store.lease("two", 99, 200, 9) == []
    assert len(await store.lease("two", 100, 200, 9)) == 1
    assert not await store.end("one", "ntc_1", "sent", "")
    assert not await store.postpone("one", "ntc_1", 1, 300, "x")
    assert await store.end("two", "ntc_1", "sent", "")
    assert not await store.end("two", "ntc_1", "failed", "")


async def test_of_many_that_ask_at_once_each_gets_others(store: Store) -> None:
    """No notice is leased to two."""
    await store.add([numbered(number) for number in range(60)])
    taken = await asyncio.gather(*(store.lease(f"node {number}", 10, 100, 20) for number in range(5)))
    ids = [notice.id for each in taken for notice in each]
    assert (len(ids), len(set(ids))) == (60, 60)


async def test_the_longest_due_come_first(store: Store) -> None:
    """And no more than asked for."""
    await store.add([numbered(1, 30), numbered(2, 10), numbered(3, 20)])
    assert [notice.id for notice in await store.lease("one", 40, 100, 2)] == ["ntc_2", "ntc_3"]


async def test_a_postponed_one_comes_again_with_its_attempts(store: Store) -> None:
    """When it is due, and at once to whoever asks then."""
    await store.add([NOTICE])
    await store.lease("one", 10, 100, 9)
    assert await store.postpone("one", "ntc_1", 3, 50, "connect_failed")
    assert await store.lease("two", 49, 100, 9) == []
    assert await store.lease("two", 50, 100, 9) == [replace(NOTICE, attempts=3, due_ns=50)]


async def test_what_is_due_is_counted_with_the_oldest(store: Store) -> None:
    """What has ended and what comes later is not."""
    assert await store.standing(100) == NoticesStanding(0, 0)
    await store.add([numbered(1, 30), numbered(2, 20), numbered(3, 200), numbered(4, 5)])
    await store.lease("one", 10, 100, 1)
    await store.end("one", "ntc_4", "failed", "refused")
    assert await store.standing(100) == NoticesStanding(2, 20)


async def test_what_need_not_be_remembered_is_forgotten(store: Store) -> None:
    """At its time and not before."""
    await store.add([NOTICE, replace(NOTICE, id="ntc_2", keep_ns=3000)])
    assert [await store.forget(now_ns) for now_ns in (1999, 2000, 2000)] == [0, 1, 0]


async def test_a_closed_store_says_so(store: Store) -> None:
    """Twice closed is harmless."""
    if isinstance(store, MemoryNotices):
        return
    await store.close()
    with pytest.raises(ReviewError) as refused:
        await store.standing(0)
    assert refused.value.code == "review_store_closed"
    await store.close()


async def test_a_file_keeps_what_it_was_told(tmp_path: Path) -> None:
    """Under a mode that others cannot read."""
    path = tmp_path / "notices.sqlite"
    for wanted in ([], [NOTICE]):
        store = SqliteNotices(NoticeFile(path))
        await store.open()
        assert await store.lease("one", 10, 11, 9) == wanted
        await store.add([NOTICE])
        await store.close()
    assert path.stat().st_mode & 0o077 == 0


async def test_what_rests_is_hastened_once(store: Store) -> None:
    """It is due from then on, for as long as it would have been from when it was made; what is sealed comes with it."""
    far = 1 << 62
    resting = replace(NOTICE, id="rsm_1", made_ns=10, due_ns=far, until_ns=60, sealed=b"\x00\xff")
    await store.add([resting, replace(resting, id="rsm_2"), NOTICE])
    assert [notice.id for notice in await store.rests(far, "", 9)] == ["rsm_1", "rsm_2"]
    assert [notice.id for notice in await store.rests(far, "rsm_1", 1)] == ["rsm_2"]
    assert [await store.hasten(name, far, 500) for name in ("rsm_1", "rsm_1", "ntc_1", "nothing")] == [True, False, False, False]
    assert await store.rests(far, "", 9) == [replace(resting, id="rsm_2")]
    due = [notice for notice in await store.lease("one", 500, 600, 9) if notice.id == "rsm_1"]
    assert due == [replace(resting, made_ns=500, due_ns=500, until_ns=550)]
