"""Which languages the cascade is told that its encoder knows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from embeddings.hashing_encoder import HashingEncoder
from embeddings.model import IntentModel
from router.config.judgement import MinilmEncoder
from router.wiring.stages import known_languages

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
