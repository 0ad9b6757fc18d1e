"""A request is found in a long text, and a long text is no likelier to be taken for one."""

from __future__ import annotations

import pytest

from embeddings.minilm import load_minilm
from embeddings.model import IntentModel
from embeddings.passages import FIRST, LAST, LONG, MOST_CHARACTERS, clearest, passages
from embeddings.prediction import Candidate, Prediction
from embeddings.train import train

BEFORE = "Hello, I hope you are all well. We were at the fair in Hanover until Thursday, and the trains were late again."
AFTER = "My wife says that I worry too much about such things. Have a lovely day. Best regards, Katharina"


def prediction(intent: str, scope: float) -> Prediction:
    return Prediction((Candidate(intent, 1.0, 0.9),), 0.9, 0.8, scope, 0.5, 10.0, 1.0)


@pytest.mark.parametrize(
    "text",
    ["", "cancel my payment", "Hello. Please cancel it. Thanks.", "x" * 10_000, "one long sentence " * 40, "Two. " + "sentences " * 40],
    ids=["empty", "short", "three short sentences", "one word", "one sentence", "two sentences"],
)
def test_other_texts_have_no_passages(text: str) -> None:
    """Only what is long and has several sentences is looked at piece by piece."""
    assert passages(text) == ()


def test_sentences_of_any_script_are_told_apart() -> None:
    """Full stops and question marks of other scripts end a sentence too."""
    text = "お世話になっております。 " + "あ" * LONG + "。 支払いを取り消せますか？ よろしく。"
    assert passages(text)[2:] == ("支払いを取り消せますか？", "よろしく。")


def test_the_cost_of_a_text_is_bounded() -> None:
    """Of very many sentences the first and the last are looked at, and of a very long one its beginning."""
    text = " ".join(f"This is sentence number {number} of them, {'and so on ' * (100 if number == 1 else 1)}." for number in range(5000))
    found = passages(text)
    assert len(found) == FIRST + LAST
    assert "number 0 " in found[0]
    assert "number 4999" in found[-1]
    assert max(len(part) for part in found) == MOST_CHARACTERS


def test_more_sentences_must_be_surer() -> None:
    """The same sentence counts less among more of them, and the whole speaks where it is about an intent itself."""
    sure, unsure, whole = prediction("a", 0.9), prediction("b", 0.1), prediction("c", 0.5)
    few, many = (clearest(prediction("c", 0.0), [sure, *[unsure] * others]) for others in (2, 20))
    assert few.candidates[0].intent == many.candidates[0].intent == "a"
    assert few.scope == pytest.approx(0.75)
    assert many.scope == pytest.approx(0.3)
    assert clearest(whole, [sure, *[unsure] * 20]).candidates[0].intent == "c"
    assert few.embed_us == pytest.approx(40.0)


def test_two_requests_in_one_story_are_two() -> None:
    """Neither speaks for the text: both are candidates, with nothing between them."""
    one, other = prediction("a", 0.95), prediction("b", 0.9)
    found = clearest(prediction("c", 0.0), [one, other, prediction("c", 0.1)])
    assert [each.intent for each in found.candidates] == ["a", "b"]
    assert found.margin == 0.0
    assert clearest(prediction("c", 0.0), [one, prediction("b", 0.6), prediction("c", 0.1)]).margin == 0.8


def test_certainty_stays_a_probability() -> None:
    """A scope of exactly one or zero has finite odds."""
    assert 0.0 <= clearest(prediction("a", 0.0), [prediction("b", 0.0)] * 3).scope <= 1.0
    assert 0.0 <= clearest(prediction("a", 0.0), [prediction("b", 1.0)] * 3).scope <= 1.0


@pytest.fixture(scope="module")
def real(catalog: dict[str, tuple[str, ...]]) -> IntentModel:
    return train(catalog, (), load_minilm())


def test_a_request_is_found_in_a_story(real: IntentModel) -> None:
    """The whole is taken for no request; its one sentence that is one speaks for it. The story alone stays out of scope."""
    asked = real.predict(f"{BEFORE} Could you please cancel the payment? {AFTER}")
    assert asked.candidates[0].intent == "payments.cancel"
    assert asked.scope > 0.5
    assert asked.scope > real.predict(f"{BEFORE} {AFTER}").scope + 0.3
