"""What an evaluation found, against what the configuration lets a proposal make worse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Bounds:
    """Largest losses, as shares; `least` held-out texts, below which nothing is said of an intent, nor of all together."""

    accuracy: float
    intent: float
    ece: float
    flips: float
    least: int
    failures: float = 0.01


def faults(figures: Mapping[str, Any], bounds: Bounds) -> list[str]:
    """A sentence for each bound that is not kept; where too little was measured, that is one, too."""
    return list(_faults(figures, bounds))


def _faults(figures: Mapping[str, Any], bounds: Bounds) -> Iterator[str]:
    before, after, route = figures["before"], figures["after"], figures.get("route")
    if route is not None:
        yield from _of_route(route, bounds)
    if after["texts"] < bounds.least and route is not None:
        return  # nothing was learnt that texts could tell of
    if after["texts"] < bounds.least:
        yield f"Only {after['texts']} held-out texts were there to measure it on, and {bounds.least} are wanted."
        return
    if before["accuracy"] - after["accuracy"] > bounds.accuracy:
        yield f"Of the held-out texts {_percent(after['accuracy'])} are right instead of {_percent(before['accuracy'])}."
    for name, was in before["intents"].items():
        now = after["intents"][name]
        if was["texts"] >= bounds.least and (was["right"] - now["right"]) / was["texts"] > bounds.intent:
            yield f"Of those about '{name}' {now['right']} of {now['texts']} are right instead of {was['right']}."
    if after["ece"] is not None and before["ece"] is not None and after["ece"] - before["ece"] > bounds.ece:
        yield f"The calibration error is {after['ece']:.3f} instead of {before['ece']:.3f}."
    replay = figures["replay"]
    if replay["decisions"] and replay["flips"] / replay["decisions"] > bounds.flips:
        yield f"Of {replay['decisions']} recorded decisions {replay['flips']} would be classified differently."


def _of_route(route: Mapping[str, Any], bounds: Bounds) -> Iterator[str]:
    one, other, success = route["from"], route["to"], route["success"]
    if not route["requests"]:
        yield "No request of this time would take another route, so nothing is known of what it would do."
    elif success["difference"] is None:
        few = ", ".join(f"'{name}'" for name in route["too_few"])
        yield f"Too few outcomes are known of {few or 'any route'} to say how requests would fare; {route['least']} are wanted."
    elif success["difference"]["mean"] < -bounds.failures:
        yield f"Of requests {_percent(success['after']['mean'])} would succeed instead of {_percent(success['before']['mean'])}."
    if route["stopped"]:
        yield f"Policy would not let {route['stopped']} of {route['requests']} requests through that it lets through now."
    if route["let_through"]:
        yield f"Policy would let {route['let_through']} of {route['requests']} requests through that it stops or holds now."
    for each in route["routes"]:
        slow = each["latency_p95_ms"] is not None and each["promise_ms"] is not None and each["latency_p95_ms"] > each["promise_ms"]
        if each["route"] == other and slow and one != other:
            yield f"'{other}' takes {each['latency_p95_ms']:.0f} ms (95 of 100 requests) and promises {each['promise_ms']:.0f} ms."


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
