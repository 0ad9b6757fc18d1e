"""One time beside another, against values that were reckoned by hand."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from router.adaptation.drift import Profile, compared, profile

BINS = 4


def made(intents: dict[str, int], statuses: dict[str, int] | None = None, confidences: list[int] | None = None) -> Profile:
    decisions = sum(intents.values())
    return Profile(decisions, intents, statuses or {"classified": decisions}, confidences or [0, 0, 0, decisions])


def test_the_mix_is_how_many_would_have_to_be_otherwise() -> None:
    """Two tenths went from one intent to two others; what is new counts, and what is gone."""
    found = compared(made({"a": 50, "b": 40, "new": 10}), made({"a": 140, "b": 40, "gone": 20}))["mix"]
    assert found["distance"] == pytest.approx((0.2 + 0.2 + 0.1 + 0.1) / 2)
    assert [(row["name"], row["counts"]) for row in found["intents"]] == [
        ("a", [50, 140]),
        ("b", [40, 40]),
        ("gone", [0, 20]),
        ("new", [10, 0]),
    ]


def test_confidences_are_as_far_apart_as_their_cumulated_shares_at_most() -> None:
    """0.1, 0.3, 0.6, 1 beside 0, 0, 0.2, 1."""
    found = compared(made({"a": 100}, confidences=[10, 20, 30, 40]), made({"a": 200}, confidences=[0, 0, 40, 160]))["confidence"]
    assert (found["distance"], found["counts"]) == (pytest.approx(0.4), [[10, 20, 30, 40], [0, 0, 40, 160]])
    assert found["moved"]


def test_shares_without_an_intent() -> None:
    """More than twice as many, and more than one in twenty."""
    now = made({"": 12, "a": 88}, {"classified": 88, "ambiguous": 2, "undetermined": 4, "out_of_scope": 6})
    before = made({"": 5, "a": 95}, {"classified": 95, "out_of_scope": 5})
    found = compared(now, before)
    assert found["abstained"] == {"shares": [0.12, 0.05], "moved": True}
    assert found["out_of_scope"] == {"shares": [0.06, 0.05]}
    assert not compared(before, now)["abstained"]["moved"]


@pytest.mark.parametrize(("now", "before"), [({}, {}), ({"a": 9}, {}), ({}, {"a": 900}), ({"a": 99}, {"b": 900})])
def test_of_few_nothing_is_said_to_have_moved(now: dict[str, int], before: dict[str, int]) -> None:
    """Nor does nothing at all divide by itself."""
    found = compared(made(now), made(before))
    assert not any(found[name]["moved"] for name in ("mix", "confidence", "abstained"))


def test_chance_alone_shows_about_so_much() -> None:
    """Of two times that are alike, on the average of many."""
    rng, weights = Random(5), [0.5, 0.3, 0.15, 0.05]
    distances: dict[str, list[float]] = {"mix": [], "confidence": []}
    told: dict[str, Any] = {}
    for _ in range(150):
        one, other = (_drawn(rng, weights, size) for size in (300, 600))
        told = compared(one, other)
        for name, found in distances.items():
            found.append(told[name]["distance"])
    assert told["mix"]["by_chance"] == pytest.approx(sum(distances["mix"]) / 150, rel=0.15)
    assert 0.5 * told["confidence"]["by_chance"] < sum(distances["confidence"]) / 150 <= told["confidence"]["by_chance"]


def _drawn(rng: Random, weights: list[float], size: int) -> Profile:
    found = rng.choices(range(4), weights, k=size)
    return made({name: found.count(place) for place, name in enumerate("abcd")}, confidences=[found.count(place) for place in range(4)])


def test_a_profile_is_put_together_of_what_the_trail_counts() -> None:
    groups = [
        {"intent": "a", "classification": "classified", "count": 3},
        {"intent": None, "classification": "ambiguous", "count": 2},
        {"intent": None, "classification": "out_of_scope", "count": 1},
    ]
    found = profile(groups, [{"counts": [0, 1, 0, 1]}, {"counts": [0, 0, 0, 2]}], BINS)
    assert (found.decisions, found.intents, found.confidences) == (6, {"a": 3, "": 3}, [0, 1, 0, 3])
    assert found.statuses == {"classified": 3, "ambiguous": 2, "out_of_scope": 1}
    assert profile([], [], BINS).confidences == [0] * BINS
