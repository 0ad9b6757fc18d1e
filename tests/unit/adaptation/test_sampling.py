"""Which decisions people are asked to label."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from router.adaptation.sampling import Rates, Strategy, disagree, draw, probability, strategies, task_id, unsure

KEY = b"k" * 32
RATES = Rates(random=0.1, uncertain=0.5, confidence=0.8, margin=0.1, a_day=50, overlap=0.2)
SURE = {"status": "classified", "confidence": "0.950000", "margin": "0.400000"}
IDS = [f"0198c0de-0000-7000-8000-{number:012d}" for number in range(4000)]


def taken(classification: dict[str, Any], rates: Rates = RATES, key: bytes = KEY) -> list[tuple[Strategy, ...]]:
    return [strategies(key, each, classification, rates) for each in IDS]


def test_the_same_decisions_are_taken_again_and_others_under_another_key() -> None:
    """Whoever lacks the key cannot tell which."""
    assert taken(SURE) == taken(SURE)
    assert taken(SURE) != taken(SURE, key=b"x" * 32)


def test_about_as_many_are_taken_as_asked_for() -> None:
    """Each strategy by itself: being unsure changes nothing of which are random."""
    doubtful = {**SURE, "confidence": "0.500000"}
    random = [Strategy.RANDOM in each for each in taken(SURE)]
    assert 300 < sum(random) < 500
    assert [Strategy.RANDOM in each for each in taken(doubtful)] == random
    assert 1850 < sum(Strategy.UNCERTAIN in each for each in taken(doubtful)) < 2150
    assert probability(doubtful, RATES) == pytest.approx(0.55)
    assert probability(SURE, RATES) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("classification", "expected"),
    [
        (SURE, False),
        ({**SURE, "confidence": "0.790000"}, True),
        ({**SURE, "margin": "0.090000"}, True),
        ({**SURE, "margin": None}, False),
        ({"status": "ambiguous"}, True),
        ({"status": "undetermined"}, True),
        ({"status": "out_of_scope", "confidence": None}, False),
    ],
)
def test_unsure_is_what_the_settings_say(classification: dict[str, Any], expected: bool) -> None:
    """A figure that is missing says nothing."""
    assert unsure(classification, RATES) is expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, False),
        ({"earlier_tiers": [{"tier": "static", "intent": "pay"}]}, False),
        ({"earlier_tiers": [{"tier": "static", "intent": "cancel"}]}, True),
        ({"earlier_tiers": [{"tier": "static", "intent": None}]}, False),
        ({"earlier_tiers": [{"tier": "static", "intent": "cancel"}], "status": "out_of_scope", "intent": None}, False),
        ({"tier": "llm", "intent": "pay"}, False),
        ({"tier": "llm", "intent": "cancel"}, True),
        ({"tier": "llm", "intent": None, "status": "out_of_scope"}, True),
        ({"tier": "encoder", "intent": None, "status": "ambiguous"}, False),
        ({"tier": "rule", "candidates": [], "intent": "pay"}, False),
    ],
)
def test_tiers_disagree_where_they_held_different_intents_likeliest(told: dict[str, Any], expected: bool) -> None:
    """A language model's choice stands beside the encoder's candidates; a record that does not say counts as agreement."""
    found = {**SURE, "tier": "encoder", "intent": "pay", "candidates": [{"intent": "pay"}, {"intent": "cancel"}], **told}
    rates = replace(RATES, random=0.0, uncertain=0.0, disagree=1.0)
    assert disagree(found) is expected
    assert strategies(KEY, IDS[0], found, rates) == ((Strategy.DISAGREE,) if expected else ())
    assert probability(found, rates) == (1.0 if expected else 0.0)


def test_a_sample_of_all_three_says_how_likely_it_was() -> None:
    """By any of them."""
    found = {**SURE, "status": "ambiguous", "earlier_tiers": [{"intent": "cancel"}], "candidates": [{"intent": "pay"}]}
    assert probability(found, replace(RATES, disagree=0.5)) == pytest.approx(1 - 0.9 * 0.5 * 0.5)


@pytest.mark.parametrize("status", ["skipped", "unavailable", None])
def test_what_was_not_classified_is_never_taken(status: str | None) -> None:
    """Not even at a rate of one."""
    assert strategies(KEY, IDS[0], {"status": status}, replace(RATES, random=1.0, uncertain=1.0)) == ()


def test_a_rate_of_one_takes_all_and_of_nothing_none() -> None:
    """At the ends there is no chance."""
    assert all(taken(SURE, replace(RATES, random=1.0)))
    assert not any(taken(SURE, replace(RATES, random=0.0)))


def test_purposes_draw_apart_and_a_task_does_not_name_its_decision() -> None:
    """Otherwise a sample would say whether two people label it."""
    assert draw(KEY, "random", IDS[0]) != draw(KEY, "overlap", IDS[0])
    assert IDS[0] not in task_id(KEY, IDS[0])
    assert len({task_id(KEY, each) for each in IDS}) == len(IDS)
