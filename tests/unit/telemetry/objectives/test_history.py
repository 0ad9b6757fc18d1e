"""Rings of counts, and growth of counters whose processes end: any course of both, against what is simple and slow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.telemetry.objectives.history import TIERS, Beside, History, Ring, Tally
from router.telemetry.objectives.indicators import Growth
from router.telemetry.objectives.rules import PERIOD_S, WINDOWS

BEGIN = 1_790_000_000.0
BYTES = 16 * sum(kept for _, kept in TIERS)
COUNTS = st.integers(0, 1000)
STEPS = st.lists(st.tuples(st.integers(0, 4 * 86_400), COUNTS, COUNTS), max_size=40)


@given(STEPS, st.sampled_from(sorted(WINDOWS.values())))
def test_a_window_has_all_that_is_in_it_and_nothing_that_is_a_slot_older(steps: list[tuple[int, int, int]], seconds: int) -> None:
    """Whatever the distances in time are, years included."""
    history, added, at = History(BEGIN), [], BEGIN
    for passed, good, bad in steps:
        at += passed
        history.add(at, good + bad, bad)
        added.append((at, good + bad, bad))
    slot = next((length for length, kept in TIERS if length * (kept - 1) > seconds), TIERS[-1][0])
    found = history.window(at, seconds)
    for index, count in enumerate((found.total, found.bad), 1):
        inside = sum(each[index] for each in added if each[0] > at - seconds + slot / 2 + 1)
        around = sum(each[index] for each in added if each[0] >= at - seconds - slot)
        assert inside <= count <= around


@given(STEPS)
def test_what_was_written_is_read_again_and_is_no_larger(steps: list[tuple[int, int, int]]) -> None:
    """A history of months takes as much room as one of minutes."""
    history, at = History(BEGIN), BEGIN
    for passed, good, bad in steps:
        at += passed
        history.add(at, good + bad, bad)
    kept = history.dump()
    again = History.load(kept)
    assert sum(len(ring["counts"]) for ring in kept["rings"]) < 1.3 * BYTES + 200
    assert (again.since, again.dump()) == (history.since, kept)
    assert all(again.window(at, seconds) == history.window(at, seconds) for seconds in WINDOWS.values())


def test_a_ring_never_grows() -> None:
    """Four months of looks each half a minute: bounded by construction, and the last window is whole."""
    ring, history = Ring(30, 140), History(BEGIN)
    for number in range(400):
        ring.add(BEGIN + number * 30, 1, 0)
    for number in range(0, 120 * 86_400, 1800):
        history.add(BEGIN + number, 60, 1)
    assert len(ring._totals) == 140
    assert BYTES < 30_000
    assert history.window(BEGIN + 120 * 86_400 - 1, PERIOD_S).total in range(48 * 30 * 60 - 60, 48 * 30 * 60 + 121)


def test_a_clock_that_is_put_back_is_noticed() -> None:
    """What would be written then was long past for the rings."""
    history = History(BEGIN)
    history.add(BEGIN + 86_400, 1, 0)
    assert (history.ahead_of(BEGIN), history.ahead_of(BEGIN + 86_400)) == (True, False)


def test_what_waits_counts_as_of_now_alone() -> None:
    """In each window that ends now, in the last step, and in none that ended before."""
    history = History(BEGIN)
    history.add(BEGIN, 10, 0)
    seen = Beside(history, Tally(5, 5), BEGIN + 60)
    assert (seen.window(BEGIN + 60, 300), seen.window(BEGIN + 30, 300)) == (Tally(15, 5), Tally(10, 0))
    assert sum(step.bad for step in seen.steps(BEGIN + 60, 86_400, 48)) == 5


LIVES = st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=5), min_size=1, max_size=4)


@given(st.lists(LIVES, min_size=1, max_size=3))
def test_growth_is_all_that_was_seen_counted_by_processes_that_end_and_begin(workers: list[list[list[int]]]) -> None:
    """Each process is a number of lives, each life some looks at a counter that grows from nothing. With or without an id of its life a
    counter that became less began again; only a life that passes what the one before had reached has to be told by its id."""
    growth, total = Growth(), 0
    looks = max(sum(map(len, lives)) for lives in workers)
    courses = [[(born, sum(life[: place + 1])) for born, life in enumerate(lives) for place in range(len(life))] for lives in workers]
    for look in range(looks):
        told = {number: course[look] for number, course in enumerate(courses) if look < len(course)}
        total += growth.since_last({n: {"born": born, "counts": {"c": count}} for n, (born, count) in told.items()}).get("c", 0)
    assert total == sum(sum(life) for lives in workers for life in lives)


def test_a_counter_that_becomes_less_began_again() -> None:
    """As Prometheus takes it, where nothing else says so."""
    growth = Growth()
    grown = [growth.since_last({0: {"born": 1, "counts": {"c": count}}})["c"] for count in (10, 15, 4, 4)]
    assert grown == [10, 5, 4, 0]
