"""Which languages the cascade is told that its encoder knows, and which thresholds follow from what is stated."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from embeddings.hashing_encoder import HashingEncoder
from embeddings.model import IntentModel
from router.catalog import Intent
from router.config import Config
from router.config.costs import Costs
from router.config.judgement import MinilmEncoder
from router.decision import Level
from router.stages.classification import Thresholds
from router.wiring.stages import NEVER, by_intent_thresholds, known_languages
from router.workspace import Workspace, stated_aim

MODEL = cast(IntentModel, SimpleNamespace(encoder=HashingEncoder()))


@pytest.mark.parametrize(
    ("settings", "model", "known"),
    [
        ({}, MODEL, {"en"}),
        ({"languages": ("de", "en")}, MODEL, {"de", "en"}),
        ({"languages": ("*",)}, MODEL, None),
        ({"languages": ("de", "*")}, MODEL, None),
        ({}, None, None),
    ],
)
def test_the_configuration_says_it_before_the_encoder_does(
    settings: dict[str, Any], model: IntentModel | None, known: set[str] | None
) -> None:
    """`*` means any; without an encoder there is none that does not know a language."""
    assert known_languages(MinilmEncoder(**settings), model) == known


CONFIG = Config.model_validate({"version": 1, "classifier": {"costs": {"wrong": 20, "abstain": 1, "wrong_by_risk": {"high": 200}}}})


@pytest.mark.parametrize(
    ("own", "aim"),
    [
        ({}, Costs(wrong=20, abstain=1)),
        ({"risk": Level.HIGH}, Costs(wrong=200, abstain=1)),
        ({"risk": Level.HIGH, "costs": {"wrong": 50, "abstain": 2}}, Costs(wrong=50, abstain=2)),
        ({"max_error": "1%"}, 0.01),
        ({"min_confidence": 0.9}, None),
    ],
)
def test_what_an_intent_states_goes_before_the_listener(own: dict[str, Any], aim: float | Costs | None) -> None:
    """Its costs, its risk of errors or its confidence; else the listener's costs by its risk."""
    assert stated_aim(CONFIG, Intent.model_validate({"description": "Ask.", "route": "ask", **own})) == aim


def test_costs_without_anything_learnt_accept_nothing() -> None:
    """The threshold is out of reach, and an arbiter is held to the share of errors at which accepting costs as much as abstaining."""
    intents = {
        "ask": Intent(description="Ask.", route="ask", risk=Level.HIGH),
        "sure": Intent(description="S.", route="ask", min_confidence=0.9),
    }
    workspace = cast(Workspace, SimpleNamespace(config=CONFIG, catalog=SimpleNamespace(intents=intents)))
    found = by_intent_thresholds(workspace, Thresholds(0.7, 0.1, 0.5), None)
    assert (found["ask"].confidence, found["ask"].max_error) == (NEVER, 0.005)
    assert (found["sure"].confidence, found["sure"].max_error) == (0.9, None)
