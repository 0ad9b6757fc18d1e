"""What every store of held requests promises, run over each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.kept_reviews import KeptReviews
from adapters.memory_reviews import MemoryReviews
from adapters.postgres.members import PostgresMembers
from adapters.postgres.reviews import PostgresReviews
from adapters.sqlite.reviews import ReviewFile, SqliteReviews
from router.errors import ReviewError
from router.ports import Change, Entry, Held, ReviewStep

Store = KeptReviews | MemoryReviews
ENTRY = Entry(b'{"id":"1"}', b"sealed", "5d" * 16)
HELD_STEP = Change("held", "", "pending", 10, (ENTRY,), recorded=True)
SUMMARY = {"reasons": ["risk.high"], "reviewers": ["manager"], "quorum": 2}


def held(name: str = "d1", expires_ns: int = 100) -> Held:
    return Held(name, "ab" * 32, 10, expires_ns, None, "bank.ask", "bank", "high", "h\ud800lden", "7f" * 16, b"\x01\x00\xff", SUMMARY)


def step(event: str, before: str = "pending", after: str = "approved", at_ns: int = 20) -> Change:
    return Change(event, before, after, at_ns, (ENTRY, replace(ENTRY, sealed=b"", key_id="")))


@pytest.fixture(params=["sqlite", "postgres", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    with ExitStack() as stack:
        made: Store
        if request.param == "postgres":
            server = request.getfixturevalue("postgres").server()
            members = PostgresMembers(server, "one", "one")
            stack.callback(members.close)
            members.open({})
            made = PostgresReviews(server, members)
        else:
            made = MemoryReviews() if request.param == "memory" else SqliteReviews(ReviewFile(tmp_path / "reviews.sqlite"))
        await made.open()
        yield made
        await made.close()


def said(event: str, before: str, after: str, at_ns: int, key_id: str) -> Change:
    return Change(event, before, after, at_ns, (Entry(b"{}", b"", key_id), ENTRY))


async def test_reviews_are_found_by_the_steps_of_a_time(store: Store) -> None:
    """With all their steps and who took each, in the order of those, of one tenant where one is named, page by page."""
    for number, (name, tenant) in enumerate((("d1", "lund"), ("d2", None), ("d3", "lund"), ("d4", "lund"))):
        summary = {**SUMMARY, "tenant": "lund"}
        await store.add(replace(held(name), tenant=tenant, summary=summary), HELD_STEP)
        await store.change(name, 1, said("claimed", "pending", "assigned", 20, "k1"))
        await store.change(name, 2, Change("lapsed", "assigned", "pending", 25))
        await store.change(name, 3, said("approved" if number < 3 else "rejected", "pending", "approved", 30 + number, "k2"))
    wanted = ("endorsed", "approved")
    first = await store.stepped(wanted, 30, "", 40, 2)
    assert [(each.at_ns, each.decision_id) for each in first] == [(30, "d1"), (31, "d2")]
    told = [ReviewStep("claimed", 20, "k1"), ReviewStep("lapsed", 25, ""), ReviewStep("approved", 30, "k2")]
    assert list(first[0].steps[1:]) == told
    assert [each.decision_id for each in await store.stepped(wanted, 31, "d2", 40, 2)] == ["d3"]
    assert [each.decision_id for each in await store.stepped(wanted, 30, "", 40, 9, "lund")] == ["d1", "d3"]
    assert [each.decision_id for each in await store.stepped((*wanted, "claimed"), 20, "d3", 32, 9)] == ["d4", "d1", "d2"]
    assert await store.stepped(wanted, 41, "", 50, 9) == []


async def test_what_is_held_comes_back_whole(store: Store) -> None:
    """Every field, the sealed part and the first step."""
    await store.add(held(), HELD_STEP)
    found = await store.get("d1")
    assert found is not None
    assert (found.held, found.state, found.history, found.version, found.reply) == (held(), "pending", (HELD_STEP,), 1, b"")
    assert await store.get("d2") is None


async def test_holding_the_same_again_changes_nothing(store: Store) -> None:
    """Whoever was not sure that it was held may ask again, also after a decision."""
    await store.add(held(), HELD_STEP)
    assert await store.change("d1", 1, step("approved"))
    await store.add(held(), HELD_STEP)
    found = await store.get("d1")
    assert found is not None
    assert (found.state, found.version) == ("approved", 2)


async def test_another_request_under_a_taken_id_is_refused(store: Store) -> None:
    """Nothing held is ever replaced."""
    await store.add(held(), HELD_STEP)
    with pytest.raises(ReviewError) as refused:
        await store.add(replace(held(), content_digest="cd" * 32), HELD_STEP)
    assert refused.value.code == "review_conflict"
    found = await store.get("d1")
    assert found is not None
    assert found.held == held()


async def test_a_step_is_kept_in_order_with_its_records(store: Store) -> None:
    """The history is every step in full; nothing is overwritten."""
    await store.add(held(), HELD_STEP)
    first, second = step("endorsed", after="pending"), step("approved", at_ns=30)
    assert await store.change("d1", 1, first)
    assert await store.change("d1", 2, second)
    found = await store.get("d1")
    assert found is not None
    assert (found.state, found.history) == ("approved", (HELD_STEP, first, second))


@pytest.mark.parametrize(("version", "before"), [(0, "pending"), (2, "pending"), (1, "approved")])
async def test_a_step_from_what_is_no_longer_so_does_nothing(store: Store, version: int, before: str) -> None:
    """Another version or another state: False, and everything is as it was."""
    await store.add(held(), HELD_STEP)
    assert not await store.change("d1", version, step("approved", before=before), forget=True, reply=b"reply")
    found = await store.get("d1")
    assert found is not None
    assert (found.held, found.state, found.version, found.reply) == (held(), "pending", 1, b"")


async def test_of_many_at_once_one_wins(store: Store) -> None:
    """Compare and set holds between concurrent callers."""
    await store.add(held(), HELD_STEP)
    won = await asyncio.gather(*(store.change("d1", 1, step("approved", at_ns=number)) for number in range(20)))
    assert sorted(won) == [False] * 19 + [True]


async def test_a_step_of_nothing_does_nothing(store: Store) -> None:
    """An unknown id has no version at all."""
    assert not await store.change("d1", 0, step("approved"))
    assert await store.unrecorded() == []


async def test_forgetting_removes_the_sealed_request_only(store: Store) -> None:
    """The digest and the terms stay; the reply is kept."""
    await store.add(held(), HELD_STEP)
    assert await store.change("d1", 1, step("done"), forget=True, reply=b"sealed reply")
    assert await store.change("d1", 2, step("noted", before="approved"))
    found = await store.get("d1")
    assert found is not None
    assert (found.held, found.reply) == (replace(held(), sealed=b""), b"sealed reply")


async def test_unrecorded_steps_are_told_until_they_are_marked(store: Store) -> None:
    """Oldest first, over all reviews; what was recorded from the start is not among them."""
    for name in ("d1", "d2"):
        await store.add(held(name), HELD_STEP)
    late, early = step("approved", at_ns=50), step("rejected", after="rejected", at_ns=40)
    await store.change("d1", 1, late)
    await store.change("d2", 1, early)
    assert list(await store.unrecorded()) == [("d2", 1, early), ("d1", 1, late)]
    await store.recorded("d2", 1)
    assert list(await store.unrecorded()) == [("d1", 1, late)]
    found = await store.get("d2")
    assert found is not None
    assert found.history[1] == replace(early, recorded=True)


async def test_pages_go_through_everything_once_oldest_first(store: Store) -> None:
    """By place, whatever changes in between; sealed parts stay where they are."""
    for number in range(5):
        await store.add(held(f"d{number}"), HELD_STEP)
    seen: list[str] = []
    after = 0
    while page := await store.page([], after, 2):
        seen += [review.held.decision_id for _, review in page]
        assert all(review.held.sealed == b"" for _, review in page)
        after = page[-1][0]
        await store.add(held("late"), HELD_STEP)
    assert seen == ["d0", "d1", "d2", "d3", "d4", "late"]


async def test_pages_and_counts_go_by_state(store: Store) -> None:
    """One state, several, or any."""
    for number, after in enumerate(("pending", "approved", "rejected")):
        await store.add(held(f"d{number}"), HELD_STEP)
        if after != "pending":
            await store.change(f"d{number}", 1, step(after, after=after))
    states = [[review.state for _, review in await store.page(wanted, 0, 9)] for wanted in (["pending"], ["approved", "rejected"], [])]
    assert states == [["pending"], ["approved", "rejected"], ["pending", "approved", "rejected"]]
    assert [await store.count([state]) for state in ("pending", "approved", "done")] == [1, 1, 0]


async def test_pages_go_by_tenant(store: Store) -> None:
    """Of that one only, whatever it is called; who belongs to none is in no tenant's page."""
    names = ["lund", "h\ud800lden", 'a"b', "é", None, "LUND", "lund"]
    for number, name in enumerate(names):
        await store.add(replace(held(f"d{number}"), tenant=name), HELD_STEP)
    for name in ("lund", "h\ud800lden", 'a"b', "é", "LUND", "nobody", "null", ""):
        found = [review.held.decision_id for _, review in await store.page([], 0, 9, name)]
        assert found == [f"d{number}" for number, each in enumerate(names) if each == name], name
    assert [place for place, _ in await store.page(["pending"], 1, 1, "lund")] == [7]


async def test_due_is_what_waits_and_whose_time_is_up(store: Store) -> None:
    """The moment itself is too late."""
    for name, expires_ns in (("over", 99), ("now", 100), ("later", 101)):
        await store.add(held(name, expires_ns), HELD_STEP)
    await store.change("over", 1, step("approved"))
    assert list(await store.due(100, ["pending"])) == ["now"]


async def test_a_closed_store_says_so(store: Store) -> None:
    """By its code, and closing twice is harmless."""
    await store.close()
    await store.close()
    with pytest.raises(ReviewError) as refused:
        await store.get("d1")
    assert refused.value.code == "review_store_closed"


async def test_everything_outlives_its_process(tmp_path: Path) -> None:
    """A second opening of the file goes on where the first ended."""
    first = SqliteReviews(ReviewFile(tmp_path / "reviews.sqlite"))
    await first.open()
    await first.add(held(), HELD_STEP)
    await first.change("d1", 1, step("approved"))
    await first.close()
    second = SqliteReviews(ReviewFile(tmp_path / "reviews.sqlite"))
    await second.open()
    found = await second.get("d1")
    assert found is not None
    assert (found.held, found.history) == (held(), (HELD_STEP, step("approved")))
    assert [(name, number) for name, number, _ in await second.unrecorded()] == [("d1", 1)]
    await second.close()


async def test_a_file_that_cannot_be_used_is_a_review_error(tmp_path: Path) -> None:
    """In one sentence that names the file."""
    (tmp_path / "reviews.sqlite").write_bytes(b"this is no database" * 100)
    store = SqliteReviews(ReviewFile(tmp_path / "reviews.sqlite"))
    with pytest.raises(ReviewError, match=r"reviews\.sqlite"):
        await store.open()
    await store.close()


async def test_a_step_may_put_something_else_in_the_place_of_what_is_held(store: Store) -> None:
    """Terms and seal together with the step, or not at all; what was read before is another version."""
    await store.add(held(), HELD_STEP)
    other = replace(held(), content_digest="cd" * 32, route="desk.ask", sealed=b"other", expires_ns=200)
    assert not await store.change("d1", 7, step("modified", after="pending"), held=other, due_ns=50)
    assert await store.change("d1", 1, step("modified", after="pending"), held=other, due_ns=50)
    found = await store.get("d1")
    assert found is not None
    assert (found.held, found.version) == (other, 2)
    assert await store.change("d1", 2, step("rejected", after="rejected"), held=other, forget=True)
    found = await store.get("d1")
    assert found is not None
    assert found.held == replace(other, sealed=b"")


async def test_a_review_is_looked_at_when_its_next_step_is_due(store: Store) -> None:
    """Which each step says anew; without a word it is never."""
    await store.add(held("d1"), HELD_STEP, due_ns=30)
    await store.add(held("d2"), HELD_STEP)
    states = ["pending", "assigned"]
    assert list(await store.due(29, states)) == []
    assert list(await store.due(30, states)) == ["d1"]
    assert await store.change("d1", 1, step("claimed", after="assigned"), due_ns=60)
    assert list(await store.due(59, states)) == []
    assert sorted(await store.due(100, states)) == ["d1", "d2"]
    assert list(await store.due(100, ["assigned"])) == ["d1"]
    assert await store.change("d2", 1, step("approved"))
    assert list(await store.due(10**18, ["approved"])) == []
    assert await store.count(["assigned", "approved", "done"]) == 2


async def test_versions_are_told_of_many_at_once(store: Store) -> None:
    """Of those that there are; they grow with each step."""
    for number in range(3):
        await store.add(held(f"d{number}"), HELD_STEP)
    await store.change("d1", 1, step("approved"))
    wanted = [f"d{number}" for number in range(1200)]
    assert await store.versions(wanted) == {"d0": 1, "d1": 2, "d2": 1}
    assert await store.versions([]) == {}


async def test_replies_are_forgotten_when_they_are_old(store: Store) -> None:
    """Those of that step before that moment; everything else stays."""
    for name, event, at_ns in (("old", "done", 20), ("new", "done", 40), ("other", "failed", 20)):
        await store.add(held(name), HELD_STEP)
        await store.change(name, 1, step(event, after=event, at_ns=at_ns), reply=b"sealed")
    assert [await store.forget_replies("done", 40) for _ in range(2)] == [1, 0]
    kept = {name: found.reply for name in ("old", "new", "other") if (found := await store.get(name)) is not None}
    assert kept == {"old": b"", "new": b"sealed", "other": b"sealed"}
