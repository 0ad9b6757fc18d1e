"""Burn rates, budgets and states, for any course of traffic."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.telemetry.objectives.history import History
from router.telemetry.objectives.judging import Drift, Figure, Lasting, State, judged_drift, judged_limits, judged_share, length, long_name
from router.telemetry.objectives.rules import DAY_S, HOUR_S, PERIOD_S

BEGIN = 1_790_000_000.0
TARGETS = st.sampled_from([0.5, 0.9, 0.99, 0.999, 0.9999])


def steady(bad: float, hours: int, each: int = 120_000) -> History:
    """So many requests an hour."""
    history = History(BEGIN)
    for number in range(hours * 12):
        history.add(BEGIN + number * 300, each // 12, round(each / 12 * bad))
    return history


@given(st.lists(st.tuples(st.integers(0, 3 * 3600), st.integers(0, 500), st.integers(0, 500)), max_size=40), TARGETS)
def test_burn_rates_are_shares_of_what_may_be_bad(steps: list[tuple[int, int, int]], target: float) -> None:
    """Never below 0, with 1 where just as much is bad as may be; budget is never above 1, and less only where something was bad; a larger
    window has no less in it."""
    history, now = History(BEGIN), BEGIN
    for passed, good, bad in steps:
        now += passed
        history.add(now, good + bad, bad)
    told = judged_share(target, history, now, "requests", "judged")
    for window in told.windows:
        assert (window.burn_rate is None) == (window.total == 0) == (window.good is None)
        if window.burn_rate is not None:
            assert window.burn_rate * (1 - target) * window.total == pytest.approx(window.bad)
            assert 0 <= window.burn_rate <= 1 / (1 - target) + 1e-6
    assert [each.bad for each in told.windows[1:3]] == sorted(each.bad for each in told.windows[1:3])
    assert all(small.total <= large.total for small, large in pairwise(told.windows[:3]))
    assert told.budget_left is not None
    assert told.budget_left <= 1
    assert (told.budget_left == 1) == (told.windows[-1].bad == 0 or now == BEGIN)
    assert (told.state is State.NO_DATA) == (told.windows[-1].total == 0)


@pytest.mark.parametrize(
    ("bad", "hours", "state", "left"),
    [
        (0.0, 24, State.MET, 1.0),
        (0.0005, 24 * 30, State.MET, 0.5),
        (0.002, 24 * 4, State.AT_RISK, 1 - 2 * 4 / 30),
        (0.004, 24, State.AT_RISK, 1 - 4 / 30),
        (0.007, 24, State.BURNING_FAST, 1 - 7 / 30),
        (0.02, 24, State.BURNING_FAST, 1 - 20 / 30),
        (0.002, 24 * 30, State.MISSED, -1.0),
    ],
)
def test_a_steady_burn_is_what_its_pace_says(bad: float, hours: int, state: State, left: float) -> None:
    """And spends the budget by the time that is known of thirty days."""
    now = BEGIN + hours * HOUR_S - 1
    told = judged_share(0.999, steady(bad, hours), now, "requests", "judged")
    assert told.state is state
    assert told.budget_left == pytest.approx(left, abs=0.02)


def test_a_budget_that_is_used_up_is_missed_also_when_all_is_well_again() -> None:
    """Nothing burns any more, and the month is lost all the same; thirty days later it is forgotten."""
    history = steady(0.5, 24)
    for number in range(24, 24 * 36):
        if number == 10 * 24:
            later = judged_share(0.999, history, BEGIN + 10 * DAY_S, "requests", "judged")
        history.add(BEGIN + number * HOUR_S, 1000, 0)
    assert (later.state, later.budget_left is not None and later.budget_left < 0) == (State.MISSED, True)
    assert judged_share(0.999, history, BEGIN + PERIOD_S + 2 * DAY_S, "requests", "judged").state is State.MET


def test_a_limit_is_borne_for_a_while() -> None:
    """What is over it without a break; a break begins anew."""
    lasting = Lasting()
    assert [lasting.look(at, over) for at, over in ((0, False), (10, True), (40, True), (50, False), (60, True))] == [None, 0, 30, None, 0]
    history = History(BEGIN)
    history.add(BEGIN, 4, 1)
    figure = Figure("time since they were confirmed", 1000, 900, "seconds")
    states = [judged_limits(history, BEGIN, {figure: (lasted, 300)}).state for lasted in (None, 0.0, 299.0, 300.0)]
    assert states == [State.MET, State.AT_RISK, State.AT_RISK, State.MISSED]
    told = judged_limits(history, BEGIN, {figure: (310.0, 300)})
    assert (told.said, told.measured) == ("Time since they were confirmed: 16 min, more than 15 min, for 5 min.", 0.75)
    assert judged_limits(History(BEGIN), BEGIN, {}).state is State.NO_DATA


@pytest.mark.parametrize(
    ("seen", "moved"),
    [
        (Drift(0.3, 0.1, 500), True),
        (Drift(0.3, 0.1, 100), False),  # too few
        (Drift(0.2, 0.1, 500), False),  # just twice
        (Drift(0.05, 0.0, 500), False),  # little, if more than none
        (Drift(0.06, 0.0, 500), True),
        (Drift(None, 0.1, 0), False),
        (Drift(0.9, None, 500), False),  # nothing to compare it with
    ],
)
def test_abstentions_move_as_the_alert_says(seen: Drift, moved: bool) -> None:
    """More than twice the day's share, more than a twentieth, of more than a hundred."""
    assert seen.moved(2.0, 0.05, 100) is moved
    history = History(BEGIN)
    history.add(BEGIN, 500, 100)
    states = [judged_drift(history, BEGIN, 0.2, seen, lasted, 900, 100).state for lasted in (None, 10.0, 900.0)]
    few = seen.count <= 100 or seen.before is None
    assert states == [State.NO_DATA if few else State.MET, State.AT_RISK, State.MISSED]


def test_lengths_read_well() -> None:
    """On the page and on the command line."""
    told = [length(seconds) for seconds in (0, 0.0005, 0.1, 30, 900, 3600, 86_400)]
    assert told == ["0 s", "0.5 ms", "100 ms", "30 s", "15 min", "1 h", "1 d"]
    assert [long_name(window) for window in ("5m", "1h", "30d")] == ["5 minutes", "hour", "30 days"]
