"""What is only polite is left out before a text is classified, and never all of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.stages.courtesy import is_courtesy, without_courtesies


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("Hi, could you please cancel payment 4711, thanks!", "cancel payment 4711"),
        ("good morning team, I was wondering: where is payment 4711? Thank you so much.", "where is payment 4711?"),
        ("please cancel payment 4711 please. Many thanks, kind regards", "cancel payment 4711"),
        ("hello there. would you kindly cancel payment 4711? thx", "cancel payment 4711?"),
        ("cancel payment 4711", "cancel payment 4711"),
        ("who are you", "who are you"),
        ("the hint was please cancel", "the hint was please cancel"),
    ],
)
def test_courtesies_at_the_ends_are_left_out(text: str, asked: str) -> None:
    """And nowhere else."""
    assert without_courtesies(text) == asked


@pytest.mark.parametrize("text", ["", "hello", "hi there", "thanks a lot", "thank you so much", "please", "hi, help please"])
def test_a_text_that_is_nothing_else_stays(text: str) -> None:
    """An intent may be about greetings or thanks."""
    assert without_courtesies(text) == text


@given(st.lists(st.sampled_from(["hi", "please", "could you", "thanks", "so much", "pay it", ",", "."]), max_size=12).map(" ".join))
def test_what_is_left_is_part_of_the_text(text: str) -> None:
    """In one piece; never nothing where there was something."""
    rest = without_courtesies(text)
    assert rest in text
    assert bool(rest) == bool(text)


@pytest.mark.parametrize(
    ("clause", "courtesy"),
    [
        ("Thanks a lot for your help!", True),
        ("Good morning to all", True),
        ("many thanks, kind regards", True),
        ("cancel it, thanks", False),
    ],
)
def test_a_clause_may_be_a_courtesy(clause: str, courtesy: bool) -> None:
    """Greetings and thanks by themselves."""
    assert is_courtesy(clause) is courtesy
