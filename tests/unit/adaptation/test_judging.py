"""What an evaluation found, against the bounds."""

from __future__ import annotations

from typing import Any

import pytest

from router.adaptation.judging import Bounds, faults

BOUNDS = Bounds(accuracy=0.0, intent=0.05, ece=0.01, flips=0.05, least=20)


def side(accuracy: float = 0.9, ece: float | None = 0.02, right: int = 19, texts: int = 40) -> dict[str, Any]:
    return {"texts": texts, "accuracy": accuracy, "ece": ece, "intents": {"pay": {"texts": 20, "right": right}}}


def figures(after: dict[str, Any], flips: int = 0, decisions: int = 100) -> dict[str, Any]:
    return {"before": side(), "after": after, "replay": {"decisions": decisions, "flips": flips, "most": []}}


def test_what_is_no_worse_passes() -> None:
    """Exactly at a bound, too."""
    assert faults(figures(side(0.9, 0.03, 18), flips=5), BOUNDS) == []


@pytest.mark.parametrize(
    ("after", "flips", "sentence"),
    [
        (side(accuracy=0.89), 0, "Of the held-out texts 89.0 % are right instead of 90.0 %."),
        (side(right=17), 0, "Of those about 'pay' 17 of 20 are right instead of 19."),
        (side(ece=0.04), 0, "The calibration error is 0.040 instead of 0.020."),
        (side(), 6, "Of 100 recorded decisions 6 would be classified differently."),
        (side(texts=19), 0, "Only 19 held-out texts were there to measure it on, and 20 are wanted."),
    ],
)
def test_what_is_worse_is_said(after: dict[str, Any], flips: int, sentence: str) -> None:
    """One sentence each; too few texts to say anything are one, too."""
    assert faults(figures(after, flips), BOUNDS) == [sentence]


def test_what_cannot_be_said_is_no_fault() -> None:
    """No decisions, no calibration, an intent with few texts."""
    after = side(ece=None)
    after["intents"] = {"pay": {"texts": 20, "right": 19}}
    assert faults(figures(after, decisions=0), BOUNDS) == []


def route(**changes: Any) -> dict[str, Any]:
    rows = [
        {"route": "cheap", "latency_p95_ms": 900.0, "promise_ms": 500.0},
        {"route": "dear", "latency_p95_ms": 400.0, "promise_ms": 500.0},
    ]
    success = {name: {"mean": mean, "low": 0.0, "high": 1.0} for name, mean in (("before", 0.9), ("after", 0.9), ("difference", 0.0))}
    told = {
        "from": "cheap",
        "to": "dear",
        "requests": 100,
        "stopped": 0,
        "let_through": 0,
        "too_few": [],
        "least": 50,
        "success": success,
        "routes": rows,
    }
    return {**told, **changes}


def worse(mean: float) -> dict[str, Any]:
    return {"before": {"mean": 0.9}, "after": {"mean": 0.9 + mean}, "difference": {"mean": mean}}


UNKNOWN = {"before": None, "after": None, "difference": None}
SLOW = [{"route": "dear", "latency_p95_ms": 2400.0, "promise_ms": 2000.0}]


@pytest.mark.parametrize(
    ("told", "sentences"),
    [
        (route(), []),
        (route(success=worse(-0.01)), []),
        (route(success=worse(-0.02)), ["Of requests 88.0 % would succeed instead of 90.0 %."]),
        (route(requests=0), ["No request of this time would take another route, so nothing is known of what it would do."]),
        (
            route(too_few=["dear"], success=UNKNOWN),
            ["Too few outcomes are known of 'dear' to say how requests would fare; 50 are wanted."],
        ),
        (route(stopped=3), ["Policy would not let 3 of 100 requests through that it lets through now."]),
        (route(let_through=2), ["Policy would let 2 of 100 requests through that it stops or holds now."]),
        (route(routes=SLOW), ["'dear' takes 2400 ms (95 of 100 requests) and promises 2000 ms."]),
    ],
)
def test_another_route_is_judged_by_what_it_would_do(told: dict[str, Any], sentences: list[str]) -> None:
    """Held-out texts are not asked for where nothing was learnt; where there are enough they count."""
    assert faults({**figures(side(texts=0)), "route": told}, BOUNDS) == sentences
    assert faults({**figures(side(), flips=6), "route": told}, BOUNDS) == [*sentences, faults(figures(side(), flips=6), BOUNDS)[0]]
