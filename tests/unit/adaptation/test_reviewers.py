"""How people label, told from tasks."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.memory_reviews import MemoryReviews
from router.adaptation.estimating import wilson
from router.adaptation.labelling import KIND, SEEDED
from router.adaptation.reviewers import LEAST, Figure, Labelling, kappa, share
from router.ports import Change, Entry, Held, Lesson
from router.wiring.reviewers import ReviewerFigures
from tests.unit.adaptation.parts import RITA, Learning

SECOND = 1_000_000_000
Said = tuple[str, str]


def task(number: int, *said: Said, kind: str = KIND, seconds: float = 5, at: int = 10, tenant: str | None = None, **more: Any) -> Lesson:
    answers = {who: {"label": label, "at_ns": at, "dwell_ns": int(seconds * SECOND), **more} for who, label in said}
    terms = {"answers": answers, "tenant": tenant}
    return Lesson(kind, f"task {number}", f"decision {number}", "done", 0, terms, touched_ns=at)


def figures(tasks: list[Lesson], since_ns: int, until_ns: int, quick_ns: int) -> list[dict[str, Any]]:
    people = Labelling(since_ns, until_ns)
    for each in tasks:
        people.take(each)
    return people.told(quick_ns)


def one(tasks: list[Lesson], who: str = "a", since: int = 0, until: int = 100) -> dict[str, Any]:
    (found,) = [each for each in figures(tasks, since, until, 2 * SECOND) if each["reviewer"] == who]
    return found


def test_wilsons_interval_is_what_the_tables_say() -> None:
    """0 and 10 of 10, where a standard error is none; 15 of 20."""
    assert wilson(0.0, 10) == (0.0, pytest.approx(0.27754, abs=1e-5))
    assert wilson(1.0, 10) == (pytest.approx(0.72246, abs=1e-5), 1.0)
    assert wilson(0.75, 20) == (pytest.approx(0.53130, abs=1e-5), pytest.approx(0.88814, abs=1e-5))


def test_kappa_is_cohens() -> None:
    """The textbook's table of fifty: 20 and 15 alike, 5 and 10 not: 0.7 agree, 0.5 by chance, so 0.4."""
    cells = [("yes", "yes", 20), ("yes", "no", 5), ("no", "yes", 10), ("no", "no", 15)]
    found = kappa([(own, [other]) for own, other, count in cells for _ in range(count)])
    assert (found.of, found.value) == (50, pytest.approx(0.4))
    assert found.low is not None
    assert found.high is not None
    assert -1 <= found.low < 0.4 < found.high <= 1


def test_kappa_of_guesses_is_nothing_and_of_one_label_is_not_defined() -> None:
    """Chance would agree as well."""
    guesses = [(own, [other]) for own in "ab" for other in "ab" for _ in range(10)]
    assert kappa(guesses).value == pytest.approx(0.0)
    assert kappa([("a", ["a"])] * 50) == Figure(50)


def test_of_too_few_nothing_is_said() -> None:
    """But how many there were."""
    assert share(LEAST - 1, LEAST - 1) == Figure(LEAST - 1)
    assert kappa([("a", ["b"])] * (LEAST - 1)) == Figure(LEAST - 1)
    found = one([task(number, ("a", "x"), ("b", "x")) for number in range(LEAST - 1)])
    assert [found[name].value for name in ("unsure", "agreement", "kappa", "known_right", "too_quick")] == [None] * 5
    assert (found["labelled"], found["median_s"], found["p90_s"]) == (LEAST - 1, None, None)


def test_agreement_is_with_the_others_of_the_same_text() -> None:
    """By the share of them; texts that one labelled alone, and whoever was unsure, count neither way."""
    tasks = [task(number, ("a", "x"), ("b", "x"), ("c", "y")) for number in range(10)]
    tasks += [task(10 + number, ("a", "y"), ("b", "y")) for number in range(10)]
    tasks += [task(20, ("a", "z")), task(21, ("a", "x"), ("b", "unsure")), task(22, ("a", "unsure"), ("b", "x"))]
    found = one(tasks)
    assert (found["agreement"].of, found["agreement"].value) == (20, pytest.approx(0.75))
    assert (found["unsure"].of, found["unsure"].value) == (23, pytest.approx(1 / 23))


def test_known_answers_count_for_that_alone() -> None:
    """Not as agreement; what is neither right nor wrong is left out."""
    tasks = [task(number, ("a", "x"), ("b", "y"), kind=SEEDED, right=number < 9) for number in range(12)]
    tasks.append(task(12, ("a", "unsure"), kind=SEEDED, right=None))
    found = one(tasks)
    assert (found["known_right"].of, found["known_right"].value) == (12, 0.75)
    assert (found["labelled"], found["agreement"].of) == (13, 0)


def test_times_are_by_nearest_rank_and_the_period_is_half_open() -> None:
    """Of who labelled in it; quicker than the bound is too quick."""
    tasks = [task(number, ("a", "x"), seconds=number) for number in range(1, 11)]
    tasks += [task(11, ("a", "x"), seconds=99, at=9), task(12, ("a", "x"), seconds=99, at=20), task(13, ("b", "x"), at=20)]
    found = one(tasks, since=10, until=20)
    assert (found["labelled"], found["median_s"], found["p90_s"], found["too_quick"].value) == (10, 5.0, 9.0, 0.1)
    assert [each["reviewer"] for each in figures(tasks, 10, 20, SECOND)] == ["a"]


async def test_a_tenants_lead_sees_that_tenants_tasks(learning: Learning) -> None:
    """And who labelled there; each look is on record before it is answered."""
    for number, tenant in enumerate(("halden", "lund", None)):
        at = learning.clock.now_ns() - 1
        await learning.store.put(task(number, (f"of {tenant}", "x"), at=at, tenant=tenant), [], "", 0)
    service = ReviewerFigures(learning.keeping, learning.keys, learning.clock, lambda: 2.0, lambda: None)
    told = {tenant: await service.told(None, None, RITA, tenant) for tenant in ("lund", None)}
    assert told[None]["deciding"] == []
    assert [each["reviewer"] for each in told["lund"]["reviewers"]] == ["of lund"]
    assert len(told[None]["reviewers"]) == 3
    assert [each["details"]["rows"] for each in learning.leaves] == [1, 3]


async def test_decisions_about_held_requests_stand_apart_and_of_that_tenant(learning: Learning) -> None:
    """By the keys of who decided; read page by page, and counted in what is on record."""
    store, now_ns = MemoryReviews(), learning.clock.now_ns()
    await store.open()
    for number in range(3):
        tenant = "lund" if number else None
        await store.add(
            Held(f"d{number}", "", now_ns, now_ns, None, "r", "d", "low", tenant, "k", b""), Change("held", "", "pending", now_ns)
        )
        entry = Entry(b"{}", b"", f"key {number % 2}")
        await store.change(f"d{number}", 1, Change("approved", "pending", "approved", now_ns - 1, (entry,)))
    service = ReviewerFigures(learning.keeping, learning.keys, learning.clock, lambda: 2.0, lambda: store)
    every, own = await service.told(None, None, RITA, None), await service.told(None, None, RITA, "lund")
    assert [(each["reviewer"], each["decided"]) for each in every["deciding"]] == [("key 0", 2), ("key 1", 1)]
    assert [(each["reviewer"], each["decided"]) for each in own["deciding"]] == [("key 0", 1), ("key 1", 1)]
    assert every["reviewers"] == []
    assert [each["details"]["rows"] for each in learning.leaves] == [2, 2]
