"""From counts to what is said of an objective: how much was good over which time, at what pace the budget burns, how much of it is left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import ceil, floor

from router.settings import duration_text
from router.telemetry.objectives.history import Known, Tally
from router.telemetry.objectives.rules import DAY_S, FAST, HOUR_S, PERIOD_S, SLOW, WINDOWS, Pace

TREND_S, TREND_STEPS = DAY_S, 48


class State(StrEnum):
    """`burning_fast`: at this pace the budget is gone within days, and it goes on. `missed`: the budget is used up, or a limit was passed
    for longer than is borne. `at_risk`: it burns faster than it may, or a limit is passed just now."""

    MET = "met"
    AT_RISK = "at_risk"
    BURNING_FAST = "burning_fast"
    MISSED = "missed"
    NO_DATA = "no_data"


WORDS: Mapping[State, str] = {
    State.MET: "met",
    State.AT_RISK: "at risk",
    State.BURNING_FAST: "burning fast",
    State.MISSED: "missed",
    State.NO_DATA: "not enough data",
}
BROKEN = (State.BURNING_FAST, State.MISSED)
SHOWN = ("5m", "1h", "6h", "1d", "3d", "30d")
"""Windows for people; the others are for the rules."""


@dataclass(frozen=True, slots=True)
class Window:
    """`good` is a share, None where there was nothing. `whole`: whether it is known from its beginning on."""

    window: str
    seconds: int
    total: int
    bad: int
    good: float | None
    burn_rate: float | None
    whole: bool


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    value: float
    limit: float
    unit: str


@dataclass(frozen=True, slots=True)
class Judged:
    """`said` is about now. `measured`: the share that was good, over 30 days as far as they are known."""

    state: State
    said: str
    measured: float | None
    target: float | None = None
    budget_left: float | None = None
    burn_rate: float | None = None
    windows: tuple[Window, ...] = ()
    trend: tuple[Tally, ...] = ()
    figures: tuple[Figure, ...] = ()


def judged_share(target: float, history: Known, now: float, what: str, how: str) -> Judged:
    """Of an objective that is a share of many, such as 99.9 % of `what` ("requests") that are ("judged")."""
    told = {window.window: window for window in windows(history, now, target)}
    whole = told["30d"]
    known = min(PERIOD_S, max(0.0, now - history.since)) / PERIOD_S
    left = 1.0 if whole.burn_rate is None else 1 - whole.burn_rate * known
    burning = next((pace for pace in FAST if _burns(pace, told)), None)
    slowly = next((pace for pace in SLOW if _burns(pace, told)), None)
    state = (
        State.BURNING_FAST if burning else State.NO_DATA if not whole.total else State.MISSED if left <= 0
        else State.AT_RISK if slowly else State.MET
    )  # fmt: skip
    said = _said(state, burning or slowly, told, what, how)
    return Judged(state, said, whole.good, target, left, told["5m"].burn_rate, tuple(told.values()), trend(history, now))


def judged_limits(history: Known, now: float, figures: Mapping[Figure, tuple[float | None, float]]) -> Judged:
    """Of figures that are to stay below a limit, each with for how long it has not (None: it does) and for how long that is borne."""
    told = tuple(windows(history, now))
    over = [(figure, lasted) for figure, (lasted, _) in figures.items() if lasted is not None]
    passed = [(figure, lasted) for figure, (lasted, borne) in figures.items() if lasted is not None and lasted >= borne]
    state = State.NO_DATA if not told[-1].total else State.MISSED if passed else State.AT_RISK if over else State.MET
    about = "; ".join(_exceeded(figure, lasted) for figure, lasted in passed or over)
    within = ", ".join(f"{each.name}: {_amount(each.value, each.unit)}" for each in figures)
    said = "Nothing was looked at yet" if state is State.NO_DATA else about or within
    return Judged(state, f"{_capital(said)}.", told[-1].good, windows=told, trend=trend(history, now), figures=tuple(figures))


def without_data(told: Judged, said: str) -> Judged:
    return replace(told, state=State.NO_DATA, said=said)


@dataclass(frozen=True, slots=True)
class Drift:
    """Shares of the last hour and of the day before it; None where there was nothing."""

    now: float | None
    before: float | None
    count: int

    def moved(self, times: float, above: float, least: int) -> bool:
        return self.now is not None and self.before is not None and self.count > least and self.now > max(above, times * self.before)


def drift(history: Known, now: float) -> Drift:
    hour, day = history.window(now, HOUR_S), history.window(now - HOUR_S, DAY_S)
    return Drift(hour.share, day.share, hour.total)


def judged_drift(history: Known, now: float, limit: float, seen: Drift, lasted: float | None, borne: float, least: int) -> Judged:
    """`limit`: how large the hour's share may be."""
    told = tuple(windows(history, now))
    few = seen.now is None or seen.before is None or seen.count <= least
    state = State.MET if lasted is None else State.AT_RISK if lasted < borne else State.MISSED
    state = State.NO_DATA if few and lasted is None else state
    hour, day = (percent(share, up=True) if share is not None else "nothing" for share in (seen.now, seen.before))
    said = f"{hour} of the last hour's {seen.count:,} requests found no intent, {day} of the day's before."
    if few:
        said = f"Requests of the last hour: {seen.count:,}; it takes more than {least:,}, and some the day before, to compare them."
    figures = () if seen.now is None else (Figure("share of the last hour", seen.now, limit, "share"),)
    return Judged(state, said, told[-1].good, windows=told, trend=trend(history, now), figures=figures)


def windows(history: Known, now: float, target: float | None = None) -> list[Window]:
    found = []
    for name, seconds in WINDOWS.items():
        tally = history.window(now, seconds)
        good = None if tally.share is None else 1 - tally.share
        burn = None if tally.share is None or target is None else tally.share / (1 - target)
        found.append(Window(name, seconds, tally.total, tally.bad, good, burn, history.since <= now - seconds))
    return found


def trend(history: Known, now: float) -> tuple[Tally, ...]:
    return tuple(history.steps(now, TREND_S, TREND_STEPS))


@dataclass(slots=True)
class Lasting:
    """For how long something has been so without a break."""

    _since: float | None = field(default=None)

    def look(self, now: float, is_so: bool) -> float | None:
        self._since = None if not is_so else now if self._since is None else min(self._since, now)
        return None if self._since is None else now - self._since


def _burns(pace: Pace, told: Mapping[str, Window]) -> bool:
    rates = [window.burn_rate for window in told.values() if window.seconds in (pace.long_s, pace.short_s)]
    return all(rate is not None and rate > pace.burn for rate in rates)


def _said(state: State, pace: Pace | None, told: Mapping[str, Window], what: str, how: str) -> str:
    if state is State.NO_DATA:
        return f"There were no {what} yet."
    name = next((name for name, seconds in WINDOWS.items() if pace is not None and seconds == pace.long_s), "30d")
    window = told[name]
    when = f"of the last {long_name(name)}" if window.whole else "so far"
    if not window.bad:
        return f"All {window.total:,} {what} {when} were {how}."
    sentence = f"{window.bad:,} of {window.total:,} {what} {when} were not {how}, {percent(window.bad / window.total, up=True)}"
    return f"{sentence}: {window.burn_rate or 0.0:.3g} times what the budget bears."


def _exceeded(figure: Figure, lasted: float) -> str:
    return f"{figure.name}: {_amount(figure.value, figure.unit)}, more than {_amount(figure.limit, figure.unit)}, for {_length(lasted)}"


def _amount(value: float, unit: str) -> str:
    return _length(value) if unit == "seconds" else percent(value) if unit == "share" else f"{value:,.0f}"


def _length(seconds: float) -> str:
    """Whole seconds, of two minutes and more whole minutes."""
    whole = int(seconds)
    return length(whole if whole < 120 else whole - whole % 60)


def length(seconds: float) -> str:
    """`15 min`, `100 ms`"""
    if seconds < 1:
        return f"{seconds * 1000:g} ms" if seconds else "0 s"
    text = duration_text(seconds)
    number, unit = text.rstrip("dhms"), text.lstrip("0123456789")
    return f"{number} {'min' if unit == 'm' else unit}"


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def long_name(window: str) -> str:
    words = {"m": "minutes", "h": "hours", "d": "days"}
    count, unit = int(window[:-1]), words[window[-1]]
    return f"{count} {unit}" if count > 1 else unit[:-1]


def percent(share: float, *, up: bool = False) -> str:
    """Never better than it is: nothing that was missed reads as 100 %, nothing bad as 0 %. Near either end with more places."""
    scale = 1000 if share < 0.01 or share > 0.99 else 10
    value = round(100 * scale * share, 6)
    return f"{(ceil(value) if up else floor(value)) / scale:.3f}".rstrip("0").rstrip(".") + " %"
