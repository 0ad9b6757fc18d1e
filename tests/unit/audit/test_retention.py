from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.audit.governance.retention import DAY_NS, MOST_NS, LedgerTime, Retention, RetentionClass, nanoseconds
from router.audit.records.canonical import timestamp

START = 1_764_000_000 * 10**9
ROW = {"kind": "decision", "intent": "payment.cancel", "risk": "high", "effect": "allow"}


def ages(days: list[float], now: float) -> LedgerTime:
    """Records at these days, in the order in which they were written."""
    return LedgerTime([(index, timestamp(START + int(day * DAY_NS))) for index, day in enumerate(days)], START + int(now * DAY_NS))


@given(st.integers(0, 2**62))
def test_a_time_is_read_as_it_was_written(ns: int) -> None:
    """To the nanosecond."""
    assert nanoseconds(timestamp(ns)) == ns


def test_records_are_as_old_as_their_times_say() -> None:
    """A record a day; after a hundred days those of the first ninety-one are ten days old or older."""
    assert ages([*range(100)], 100).older_than(10 * DAY_NS) == 91
    assert ages([*range(100)], 100).older_than(101 * DAY_NS) == 0
    assert ages([], 5).older_than(0) == 0


@pytest.mark.parametrize("jump", [400, 4000, 36_500])
def test_a_clock_that_jumps_ahead_makes_nothing_old(jump: int) -> None:
    """Years ahead count as a month, whether the records say so or only the clock does; the jump is told."""
    sudden = ages([*range(100)], 100 + jump)
    assert sudden.older_than(184 * DAY_NS) == 0
    assert [(each.record, round(each.ns / DAY_NS)) for each in sudden.jumps] == [(100, jump + 1)]
    stays = ages([*range(100), *(jump + day for day in range(100, 110))], jump + 110)
    assert stays.older_than(184 * DAY_NS) == 0


@pytest.mark.parametrize("jump", [400, -400, 20_000, -20_000])
def test_a_clock_that_was_wrong_for_a_while_costs_at_most_a_month(jump: int) -> None:
    """Ten records under a wrong clock, then the right one again: the age of the rest is right to within a month, and never too high."""
    days = [*range(100), *(jump + day for day in range(100, 110)), *range(110, 400)]
    true, found = 400 - 184, ages(days, 400).older_than(184 * DAY_NS)
    assert true - 32 <= found <= true + 1


@given(st.lists(st.integers(-5000, 5000), min_size=1, max_size=30), st.integers(1, 400))
def test_whatever_the_clock_did_every_step_counts_at_most_a_month(steps: list[int], keep: int) -> None:
    """Nothing is older than a month for each time that was written after it."""
    days = [float(day) for day in accumulate(steps)]
    boundary = ages(days, days[-1]).older_than(keep * DAY_NS)
    assert boundary == 0 or (len(days) - boundary + 1) * MOST_NS >= keep * DAY_NS


def test_the_first_class_that_matches_is_a_records_own() -> None:
    """Every column for which values are given must match; the kind `system` must be named."""
    payments = RetentionClass("payments", DAY_NS, intents=("payment.cancel",), risks=("high", "critical"))
    rest = RetentionClass("rest", DAY_NS)
    orders = RetentionClass("orders", DAY_NS, kinds=("system",))
    kept = Retention((payments, rest, orders))
    assert kept.of(ROW) is payments
    assert kept.of({**ROW, "risk": "low"}) is rest
    assert kept.of({**ROW, "kind": "system"}) is orders
    assert Retention((payments,)).of({**ROW, "effect": "deny", "intent": "other"}) is None
    assert rest.matches({**ROW, "kind": "unreadable"}) is False


def test_other_terms_are_another_policy() -> None:
    """What was looked at under one is looked at again under the other."""
    one, two = RetentionClass("a", DAY_NS), RetentionClass("b", DAY_NS)
    policies = {Retention(each).policy for each in ((one, two), (two, one), (one,), (RetentionClass("a", 2 * DAY_NS), two))}
    assert len(policies) == 4
