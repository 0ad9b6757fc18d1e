"""Callers who wait, however many: what it costs the store, and that nobody waits in vain."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from adapters.memory_destination import Answer as Reply
from adapters.memory_destination import MemoryDestination
from router.errors import ReviewError
from router.review.changes import Changes
from router.review.given import Given
from router.review.packing import Answer
from router.review.people import People
from router.review.standing import Standing, Standings, unpacked
from router.review.waiting import Waits
from tests.unit.review.parts import RITA, Desk, way


class Feed:
    """Of reviews that a test moves on. `asked` counts the questions by their kind; `away` is what every one raises."""

    def __init__(self) -> None:
        self.changes_here = Changes()
        self.versions_here: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.away: ReviewError | None = None
        self.asked_often, self.looked = asyncio.Event(), asyncio.Event()

    def step(self, review_id: str, *, told: bool = True) -> None:
        """`told`: False where another node took it."""
        self.versions_here[review_id] += 1
        if told:
            self.changes_here.changed(review_id)

    async def changes(self, number: int | None, seconds: float) -> tuple[int, Sequence[str], bool]:
        self.asked["changes"] += 1
        if self.asked["changes"] >= 3:
            self.asked_often.set()
        if self.away is not None:
            raise self.away
        return await self.changes_here.since(number, seconds)

    async def versions(self, review_ids: Sequence[str]) -> Mapping[str, int]:
        self.asked["versions"] += 1
        self.looked.set()
        return {each: self.versions_here[each] for each in review_ids}

    async def standing(self, review_id: str, key_id: str, tenant: str | None) -> Standing | None:
        raise AssertionError("nobody asks here")

    async def answer(self, given: Given) -> bool:
        raise AssertionError("nobody answers here")


@pytest.fixture
async def feed() -> Feed:
    return Feed()


@pytest.fixture
async def waits(feed: Feed) -> AsyncIterator[Waits]:
    made = Waits(feed)
    yield made
    if made._watching is not None:
        made._watching.cancel()


async def changed(waits: Waits, review_id: str, seconds: float = 20.0, version: int = 0) -> bool:
    waiter = waits.begin(review_id)
    assert waiter is not None
    with waiter:
        waiter.version = version
        return await waiter.changed(time.monotonic() + seconds)


async def test_a_thousand_who_wait_are_one_question(feed: Feed, waits: Waits) -> None:
    """And each hears of his own request alone."""
    waiting = {f"r{number}": asyncio.ensure_future(changed(waits, f"r{number}")) for number in range(1000)}
    await feed.looked.wait()
    assert waits.count == 1000
    before = feed.asked.total()
    for _ in range(100):
        await asyncio.sleep(0)
    assert feed.asked.total() == before <= 3
    feed.step("r7")
    assert await waiting["r7"]
    assert not any(task.done() for name, task in waiting.items() if name != "r7")
    assert feed.asked.total() <= before + 2
    for name in waiting:
        feed.step(name)
    assert all(await asyncio.gather(*waiting.values()))
    assert waits.count == 0


async def test_callers_who_come_and_go_leave_no_questions_open(feed: Feed, waits: Waits) -> None:
    """One is open for all of them, and none once it was answered and nobody waits."""
    for number in range(100):
        waiter = waits.begin(f"r{number}")
        assert waiter is not None
        await asyncio.sleep(0)
        waits.leave(waiter)
    assert feed.asked["changes"] <= 2
    watching = waits._watching
    assert watching is not None
    feed.step("r1")
    await watching
    assert waits._watching is None


async def test_what_another_node_did_is_seen_by_looking(feed: Feed, waits: Waits) -> None:
    """All are asked for at once."""
    waits.look_s = 0.01
    waiting = [asyncio.ensure_future(changed(waits, f"r{number}")) for number in range(50)]
    await asyncio.sleep(0)
    for number in range(50):
        feed.step(f"r{number}", told=False)
    assert all(await asyncio.gather(*waiting))
    assert feed.asked["versions"] < 50


async def test_who_waits_is_not_told_of_nothing(feed: Feed, waits: Waits) -> None:
    """Nothing happened in time; and what he has seen already is nothing new."""
    feed.step("r1", told=False)
    assert not await changed(waits, "r1", 0.05, version=1)


async def test_a_feed_that_is_away_is_asked_again(feed: Feed, waits: Waits, monkeypatch: pytest.MonkeyPatch) -> None:
    """What happened meanwhile is found by looking."""
    monkeypatch.setattr("router.review.waiting.AGAIN_S", 0.01)
    feed.away = ReviewError("away")
    waiting = asyncio.ensure_future(changed(waits, "r1"))
    await feed.asked_often.wait()
    feed.step("r1")
    feed.away = None
    assert await waiting


async def test_more_than_may_wait_do_not(feed: Feed) -> None:
    """Whoever leaves makes room, also by giving up."""
    waits = Waits(feed, most=1)
    first = waits.begin("r1")
    assert first is not None
    assert waits.begin("r2") is None
    with first:
        assert not await first.changed(time.monotonic())
    second = waits.begin("r2")
    assert second is not None
    waits.leave(second)
    waits.leave(second)
    assert waits.count == 0


async def test_a_stop_sends_everybody_home(feed: Feed, waits: Waits) -> None:
    """And nobody else begins."""
    waiting = asyncio.ensure_future(changed(waits, "r1"))
    await asyncio.sleep(0)
    waits.stop()
    assert not await waiting
    assert waits.begin("r1") is None


async def test_changes_that_are_too_old_are_told_to_be_lost() -> None:
    """So is a number of another start; what is known is told once and in order."""
    changes = Changes(kept=3)
    assert await changes.since(None, 1) == (0, (), True)
    for name in ("a", "b", "a"):
        changes.changed(name)
    assert await changes.since(0, 1) == (3, ("a", "b"), False)
    changes.changed("c")
    assert await changes.since(0, 1) == (4, ("b", "a", "c"), True)
    assert await changes.since(3, 1) == (4, ("c",), False)
    assert await changes.since(99, 1) == (4, (), True)
    assert await changes.since(4, 0.01) == (4, (), False)


async def test_where_it_stands_is_told_to_who_asked_and_nobody_else(desk: Desk) -> None:
    """By the key, which is a person's own, and the tenant."""
    review = await desk.held()
    standings = Standings(desk.store, People(desk.keys))
    held = (await desk.store.get(review)).held  # type: ignore[union-attr]  # it was just held
    other, _ = await desk.keys.key_for(RITA.id)
    assert await standings.of(review, other, held.tenant) is None
    assert await standings.of(review, held.subject_key_id, "another") is None
    assert await standings.of("nothing", held.subject_key_id, held.tenant) is None
    found = await standings.of(review, held.subject_key_id, held.tenant)
    assert found is not None
    assert (found.state, found.version, found.ended, found.status) == ("pending", 1, False, 0)


async def test_the_answer_comes_with_its_header_fields(desk: Desk) -> None:
    """As the upstream gave it, over the wire between the processes too."""

    async def bank(_: object) -> Reply:
        return Reply(201, [(b"content-type", b"text/plain"), (b"x-own", b"1"), (b"x-own", b"2")], b"paid")

    destination = MemoryDestination(bank)
    await destination.open()
    desk.way = way(destination)
    review = await desk.held()
    await desk.approve(review)
    await desk.settled()
    held = (await desk.store.get(review)).held  # type: ignore[union-attr]  # it was held
    found = await Standings(desk.store, People(desk.keys)).of(review, held.subject_key_id, held.tenant)
    assert found is not None
    assert (found.state, found.status, found.ended) == ("done", 201, True)
    assert found.answer == Answer(201, "text/plain", b"paid", True, ((b"content-type", b"text/plain"), (b"x-own", b"1"), (b"x-own", b"2")))
    assert unpacked(found.packed()) == found


async def test_a_rejection_is_told_with_its_outcome(desk: Desk) -> None:
    """Status and reason are those on record."""
    review = await desk.held()
    held = (await desk.store.get(review)).held  # type: ignore[union-attr]  # it was just held
    await desk.service.reject(review, RITA, "not today")
    found = await Standings(desk.store, People(desk.keys)).of(review, held.subject_key_id, held.tenant)
    assert found is not None
    assert (found.state, found.status, found.reason, found.answer) == ("rejected", 403, "review_rejected", None)
    assert found.ended_ns > 0


def test_an_answer_that_was_kept_before_there_were_header_fields_is_one() -> None:
    """A store may be older than this."""
    assert Answer.of([200, "text/plain", b"paid", True]) == Answer(200, "text/plain", b"paid", True)
