"""Which texts an encoder may answer while the event loop stands still."""

from __future__ import annotations

import pytest

from embeddings.hashing_encoder import HashingEncoder
from embeddings.minilm import load_minilm
from embeddings.onnx_encoder import OnnxEncoder
from router.doors.under_way import UnderWay
from router.wiring.encoder import AT_ONCE_BYTES, AT_ONCE_CHARACTERS, at_once

SHORT = "cancel payment 7"


@pytest.fixture(scope="module")
def encoder() -> OnnxEncoder:
    return load_minilm()


def test_a_short_text_is_answered_at_once_while_its_request_is_alone(encoder: OnnxEncoder) -> None:
    """Whoever comes beside it would wait for it."""
    under_way = UnderWay()
    may = at_once(encoder, under_way.alone)
    under_way.count = 1
    assert may(SHORT)
    under_way.count = 2
    assert not may(SHORT)


@pytest.mark.parametrize("text", ["x" * (AT_ONCE_CHARACTERS + 1), "!?" * 50, "取消付款" * 10])
def test_a_text_of_many_tokens_never_is(encoder: OnnxEncoder, text: str) -> None:
    """Long ones, and those in which each letter is a token."""
    assert not at_once(encoder, lambda: True)(text)


def test_a_larger_model_never_does(encoder: OnnxEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its forward takes longer than the way to a thread."""
    monkeypatch.setattr(encoder, "bytes", AT_ONCE_BYTES + 1)
    assert not at_once(encoder, lambda: True)(SHORT)


def test_an_encoder_of_which_nothing_is_known_never_does() -> None:
    """It may wait for a server."""
    assert not at_once(HashingEncoder(), lambda: True)(SHORT)
