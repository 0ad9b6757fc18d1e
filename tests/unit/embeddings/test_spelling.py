"""One slip of the finger is read as the examples' word; words that somebody knows are left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddings.minilm import load_minilm
from embeddings.spelling import MOST_SLIPS, Spelling, whole_words, words_of

WORDS = {"cancel": 5, "payment": 9, "payments": 2, "vacation": 1, "plan": 1, "plane": 3}
SPELLING = Spelling(WORDS, frozenset({"vocation", "please", "plant"}))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("cnacel the payment", "cancel the payment"),
        ("cancl the Paymnet!", "cancel the payment!"),
        ("canccel it", "cancel it"),
        ("cancwl it", "cancel it"),
        ("CNACEL it, cnacel it", "cancel it, cancel it"),
    ],
)
def test_one_slip_is_corrected(typed: str, meant: str) -> None:
    """Swapped, dropped, doubled or neighbouring letters, in any case."""
    assert SPELLING.corrected(typed) == meant


@pytest.mark.parametrize(
    "text",
    ["", "vocation", "please plant it", "xancel", "cnacl", "cancel4711", "cna", "c" * 5000, "Müller cañcel", "取消付款"],
    ids=lambda text: text[:12],
)
def test_other_words_are_left_alone(text: str) -> None:
    """Known words, other first letters, two slips, numbers, short words, no words, and other scripts."""
    assert SPELLING.corrected(text) == text


def test_the_more_frequent_word_is_meant() -> None:
    """Where two are one slip away."""
    assert SPELLING.corrected("paymente") == "payment"
    assert SPELLING.corrected("planx") == "plane"


def test_without_known_words_nothing_is_corrected() -> None:
    """A word that is in no example may be right all the same."""
    assert Spelling(WORDS, frozenset()).corrected("cnacel") == "cnacel"


def test_the_cost_is_bounded() -> None:
    """A text of nothing but slips is corrected at its beginning only."""
    text = " ".join(f"cancel{chr(97 + number)}" for number in range(26))
    assert SPELLING.corrected(text).split().count("cancel") == MOST_SLIPS


@given(st.text(max_size=80))
def test_corrected_is_correct(text: str) -> None:
    """A second look changes nothing in a text that was short enough for the first."""
    once = SPELLING.corrected(text)
    assert SPELLING.corrected(once) == once


def test_words_are_counted_in_the_order_of_the_alphabet() -> None:
    """So that the artefact does not hang on the order of examples."""
    assert list(words_of(["Pay the bill", "bill them"]).items()) == [("bill", 2), ("them", 1)]


def test_a_vocabulary_has_whole_words_or_none() -> None:
    """Only WordPiece says which of its pieces are words."""
    assert whole_words(["pay", "cancel", "##ment", "[CLS]", "4711x"]) == {"cancel"}
    assert whole_words(["cancel", "Ġpayment"]) == frozenset()
    assert whole_words(["▁cancel", "ment", "tion", "###"]) == frozenset()  # a unigram vocabulary that has hash marks, too
    assert "payment" in load_minilm().words
