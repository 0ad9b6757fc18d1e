"""What another route for an intent would do, told from what became of the requests of the same intent: counterfactual, and said so.

Each request of the window goes once where the catalog and policy send it now, and once where they would. How the requests of a route fare
is taken from those that it had; of too few, nothing is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.adaptation.chances import Share, p95, p95_between, share, together
from router.decision import Effect, Result
from router.stages.alternatives import FAILED

UNTOLD = 0.01  # a route that gains or loses less than this share of requests changes nothing that is worth an interval
MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Way:
    """A route as the catalog has it. `latency_s` is what it promises of 95 of 100."""

    name: str
    destination: str
    cost: float | None = None
    latency_s: float | None = None
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    intent: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A request of the intent that was decided. `follows`: its route came of the intent, and not of a rule or of nothing. `route`: where it
    went in the end. `failed` is None where nothing tells of the service: a refusal, somebody who went away, no outcome yet.
    `sent_by_people`: the route that a reviewer chose instead."""

    decision: str
    at_ns: int
    route: str | None
    destination: str | None
    effect: str
    follows: bool = True
    failed: bool | None = None
    took_ns: int | None = None
    sent_by_people: str | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """`least` outcomes by a route, below which nothing is said of it. `capped`: there were more requests than were looked at."""

    since_ns: int
    until_ns: int
    least: int
    capped: bool = False


Went = tuple[str, str | None]
"""What policy says, and the route."""


def went_wrong(result: str | None, status: int | None) -> bool | None:
    """As policy is told it: a refusal says nothing of the service."""
    if result == Result.ROUTED:
        return status in FAILED
    return True if result == Result.FAILED and status is not None and status >= 500 else None


@dataclass(frozen=True, slots=True)
class _Fared:
    """The outcomes of a route, in `took` those whose time is known, ascending. `chosen` counts those that policy sent there."""

    outcomes: int
    failed: int
    took: tuple[int, ...]
    chosen: int

    @property
    def succeeded(self) -> Share:
        return share(self.outcomes - self.failed, self.outcomes)


def effect(
    change: Change, ways: Mapping[str, Way], seen: Sequence[Seen], window: Window, asked: Mapping[str, tuple[Went, Went]] | None = None
) -> dict[str, Any]:
    """`asked`: of decisions, what policy in force says now, and what it would say; without it each is taken to be judged as it was, and
    all of `seen` are counted."""
    counted = [each for each in seen if each.follows and (asked is None or each.decision in asked)]
    pairs = [(_goes(change.before, each, ways, asked, 0), _goes(change.after, each, ways, asked, 1)) for each in counted]
    before, after = _counts(now for now, _ in pairs), _counts(then for _, then in pairs)
    ways = {name: ways[name] for name in dict.fromkeys((change.before, change.after, *sorted(before | after)))}
    fared = {name: _fared(way, seen) for name, way in ways.items()}
    moved = {name: _part(after[name], after.total()) - _part(before[name], before.total()) for name in ways}
    thin = sorted(name for name, weight in moved.items() if abs(weight) > UNTOLD and fared[name].outcomes < window.least)
    found = {
        "intent": change.intent,
        "from": change.before,
        "to": change.after,
        "since_ns": window.since_ns,
        "until_ns": window.until_ns,
        "requests": len(counted),
        "capped": window.capped,
        "moved": _part(sum(then not in (None, now) for now, then in pairs), len(pairs)),
        "stopped": sum(now is not None and then is None for now, then in pairs),
        "let_through": sum(now is None and then is not None for now, then in pairs),
        "policy_asked": asked is not None,
        "too_few": thin,
        "least": window.least,
        "success": _success(before, after, fared, thin),
        "cost": _pair(_cost(before, ways), _cost(after, ways)),
        "latency_p95_ms": _pair(_latency(before, fared), None if thin else _latency(after, fared)),
        "routes": [_row(way, before[name], after[name], fared[name], window.least) for name, way in ways.items()],
    }
    had = sum(each.route == change.after and each.effect in (Effect.ALLOW, Effect.REROUTE) for each in seen)
    return {**found, "assumed": list(_assumed(found, fared[change.after], ways, after[change.after], had))}


def _goes(route: str, seen: Seen, ways: Mapping[str, Way], asked: Mapping[str, tuple[Went, Went]] | None, place: int) -> str | None:
    """Were this the intent's route. None for what policy stops or holds, and for what would go to a route that is gone."""
    judged, elsewhere = asked[seen.decision][place] if asked is not None else (seen.effect, seen.route)
    if judged == Effect.ALLOW:
        return route
    return elsewhere if judged == Effect.REROUTE and elsewhere in ways else None


def _counts(routes: Iterable[str | None]) -> Counter[str]:
    return Counter(route for route in routes if route is not None)


def _fared(way: Way, seen: Sequence[Seen]) -> _Fared:
    """Of another destination, which the route had once or has for some callers, nothing counts; nor what a reviewer sent elsewhere."""
    own = [
        each
        for each in seen
        if each.route == way.name and each.destination == way.destination and each.failed is not None and each.sent_by_people is None
    ]
    took = tuple(sorted(each.took_ns for each in own if each.took_ns is not None))
    return _Fared(len(own), sum(each.failed is True for each in own), took, sum(each.effect == Effect.REROUTE for each in own))


def _success(before: Counter[str], after: Counter[str], fared: Mapping[str, _Fared], thin: Sequence[str]) -> dict[str, Any]:
    were, would = before.total(), after.total()
    shares = {name: each.succeeded for name, each in fared.items()}
    if thin or not were or not would:
        return {"before": None, "after": None, "difference": None}
    parts = {
        "before": [(_part(before[name], were), each) for name, each in shares.items()],
        "after": [(_part(after[name], would), each) for name, each in shares.items()],
        "difference": [(_part(after[name], would) - _part(before[name], were), each) for name, each in shares.items()],
    }
    return {name: _told(together([each for each in some if each[0]])) for name, some in parts.items()}


def _told(found: Share) -> dict[str, float]:
    return {"mean": found.mean, "low": found.low, "high": found.high}


def _cost(going: Counter[str], ways: Mapping[str, Way]) -> float | None:
    """Of a request; None where that of a route is not known."""
    costs = {name: ways[name].cost if name in ways else None for name, count in going.items() if count}
    if not costs or None in costs.values():
        return None
    return sum(going[name] * (cost or 0.0) for name, cost in costs.items()) / going.total()


def _latency(going: Counter[str], fared: Mapping[str, _Fared]) -> float | None:
    weighted = [
        (took, count / len(fared[name].took)) for name, count in going.items() if name in fared and count for took in fared[name].took
    ]
    found = p95(weighted)
    return None if found is None else found / MS


def _row(way: Way, before: int, after: int, fared: _Fared, least: int) -> dict[str, Any]:
    few = fared.outcomes < least
    between = None if few else p95_between(fared.took)
    return {
        "route": way.name,
        "destination": way.destination,
        "before": before,
        "after": after,
        "outcomes": fared.outcomes,
        "failed": fared.failed,
        "by_policy": fared.chosen,
        "too_few": few,
        "success": None if few else _told(fared.succeeded),
        "cost": way.cost,
        "promise_ms": None if way.latency_s is None else way.latency_s * 1000,
        "latency_p95_ms": None if few or not fared.took else (p95((took, 1.0) for took in fared.took) or 0) / MS,
        "latency_between_ms": None if between is None else [each / MS for each in between],
    }


def _assumed(found: Mapping[str, Any], target: _Fared, ways: Mapping[str, Way], would: int, had: int) -> Iterator[str]:
    """What has to be true for the figures to be."""
    one, other = found["from"], found["to"]
    yield "A request fares as those of the same intent fared that took the route in this time; nobody drew lots which took which."
    if target.chosen:
        told = f"Of {target.outcomes} known outcomes by '{other}' {target.chosen} are of requests that policy had sent there"
        yield f"{told}: others may fare otherwise."
    if had and would > 1.5 * had:
        yield f"The destination of '{other}' bears {would / had:.1f} times the requests of this intent that it had."
    if found["policy_asked"]:
        yield "Policy in force was asked again about every recorded request, with destinations standing as it was told then."
    else:
        yield "Policy says of each request what it said then: it was not asked again."
    if ways[one].alternatives and not ways[other].alternatives:
        yield f"'{other}' names no alternatives, so where its destination fails policy has nothing to choose from."
    if found["cost"]["after"] is not None:
        yield "Costs are those of the catalog."
    if found["capped"]:
        yield f"There were more requests in this time; the newest {found['requests']} were looked at."


def _pair(before: float | None, after: float | None) -> dict[str, float | None]:
    return {"before": before, "after": after}


def _part(count: int, of: int) -> float:
    return count / of if of else 0.0
