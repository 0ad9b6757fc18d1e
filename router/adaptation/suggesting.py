"""When another route for an intent is worth a suggestion: where its requests fared better in each third of what was seen, by
an interval that does not include no improvement, or where the people who decide about held requests send most of them there anyway.

So that suggestions do not flap: what is better has to be so by a margin and three times; only what came since the route was last changed
counts; after a suggestion was refused or taken there is none about the intent for as long as the time that is looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from router.adaptation.chances import share
from router.adaptation.route_effects import Change, Seen, Way, Window, effect

LEAST_JUDGED, LEAST_JUDGES = 10, 2  # held requests that people decided about, and people who sent some elsewhere
MOSTLY = 0.5
PARTS = 3  # what lasted for less than a third of the requests is not in all of three


class Why(StrEnum):
    SUCCEEDS = "more_succeed"
    JUDGED = "reviewers_reroute"
    COSTS = "costs_less"
    QUICKER = "keeps_promise"


class WhyNot(StrEnum):
    FEW = "too_few"
    NO_GAIN = "no_gain"  # the interval includes no improvement, or one that is too small
    UNSTEADY = "unsteady"  # not so in each third of what was seen
    OPEN = "open"  # a proposal about the intent's route is open
    RESTING = "resting"  # the last one ended not long ago
    CAPPED = "capped"  # as many suggestions as there may be


ORDER = tuple(Why)


@dataclass(frozen=True, slots=True)
class Margins:
    """`gain`: of the share that succeeds, or of costs, at least; `loss`: of the share that succeeds, at most, where it is for something
    else."""

    gain: float
    loss: float


@dataclass(frozen=True, slots=True)
class Judged:
    """What people decided about held requests of an intent: how many, and by route that they chose instead how many and by whom (keys)."""

    decided: int = 0
    sent: Mapping[str, int] | None = None
    by: Mapping[str, frozenset[str]] | None = None

    def mostly(self, route: str) -> bool:
        sent, by = (self.sent or {}).get(route, 0), (self.by or {}).get(route, frozenset())
        return self.decided >= LEAST_JUDGED and len(by) >= LEAST_JUDGES and share(sent, self.decided).low > MOSTLY


@dataclass(frozen=True, slots=True)
class Considered:
    """`why` it is suggested, or `why_not`."""

    change: Change
    effect: Mapping[str, Any]
    why: Why | None = None
    why_not: WhyNot | None = None


def consider(change: Change, ways: Mapping[str, Way], seen: Sequence[Seen], judged: Judged, window: Window, margins: Margins) -> Considered:
    whole = effect(change, ways, seen, window)
    thirds = [effect(change, ways, some, replace(window, least=max(1, window.least // PARTS))) for some in _parts(seen)]
    found = {**whole, "judged": {"decided": judged.decided, "sent": (judged.sent or {}).get(change.after, 0)}}
    better = [why for why in ORDER if _better(why, whole, judged, margins)]
    steady = [why for why in better if why is Why.JUDGED or all(_points_there(why, third, margins) for third in thirds)]
    if steady:
        return Considered(change, found, why=steady[0])
    if better:
        return Considered(change, found, why_not=WhyNot.UNSTEADY)
    return Considered(change, found, why_not=WhyNot.FEW if whole["too_few"] or not whole["requests"] else WhyNot.NO_GAIN)


def chosen(found: Sequence[Considered], open_intents: Collection[str], resting: Collection[str], room: int) -> list[Considered]:
    """Each with what becomes of it: of an intent the best one alone, by why and then by how much; of all at most `room`."""
    done, taken, ranked = list[Considered](), set[str](), sorted(found, key=_rank)
    for each in ranked:
        if each.why is not None:
            intent = each.change.intent
            held = WhyNot.OPEN if intent in {*open_intents, *taken} else WhyNot.RESTING if intent in resting else None
            held = held or (WhyNot.CAPPED if len(taken) >= room else None)
            if held is None:
                taken.add(intent)
            else:
                each = replace(each, why=None, why_not=held)
        done.append(each)
    return done


def _rank(one: Considered) -> tuple[int, float, str, str]:
    difference = one.effect["success"]["difference"]
    place = ORDER.index(one.why) if one.why is not None else len(ORDER)
    return place, -difference["low"] if difference is not None else 0.0, one.change.intent, one.change.after


def _better(why: Why, told: Mapping[str, Any], judged: Judged, margins: Margins) -> bool:
    difference = told["success"]["difference"]
    if why is Why.JUDGED:
        return judged.mostly(told["to"]) and (difference is None or difference["high"] >= 0)
    if difference is None or told["moved"] == 0 or told["stopped"] or told["let_through"]:
        return False
    if why is Why.SUCCEEDS:
        return bool(difference["low"] > 0 and difference["mean"] >= margins.gain)
    if difference["low"] < -margins.loss:
        return False
    return _cheaper(told, margins) if why is Why.COSTS else _keeps(told)


def _parts(seen: Sequence[Seen]) -> list[Sequence[Seen]]:
    """The oldest third of them, the next and the newest."""
    ordered = sorted(seen, key=lambda each: each.at_ns)
    return [ordered[len(ordered) * part // PARTS : len(ordered) * (part + 1) // PARTS] for part in range(PARTS)]


def _points_there(why: Why, third: Mapping[str, Any], margins: Margins) -> bool:
    """Without an interval, for so few."""
    difference = third["success"]["difference"]
    if difference is None:
        return False
    if why is Why.SUCCEEDS:
        return bool(difference["mean"] > 0)
    if difference["mean"] < -margins.loss:
        return False
    return _cheaper(third, margins) if why is Why.COSTS else _misses(third)


def _cheaper(told: Mapping[str, Any], margins: Margins) -> bool:
    cost = told["cost"]
    if cost["before"] is None or cost["after"] is None:
        return False
    return bool(cost["before"] - cost["after"] > margins.gain * cost["before"])


def _keeps(told: Mapping[str, Any]) -> bool:
    """The route is slower than it promises, for sure, and the other is as quick as that, for sure."""
    one, other = (_row(told, told[name]) for name in ("from", "to"))
    slow, quick = one["latency_between_ms"], other["latency_between_ms"]
    return one["promise_ms"] is not None and bool(slow and quick and slow[0] > one["promise_ms"] >= quick[1])


def _misses(third: Mapping[str, Any]) -> bool:
    one = _row(third, third["from"])
    return one["latency_p95_ms"] is not None and bool(one["latency_p95_ms"] > one["promise_ms"])


def _row(told: Mapping[str, Any], route: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(each for each in told["routes"] if each["route"] == route)
    return found
