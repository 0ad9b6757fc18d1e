"""Replacing places by labels."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.stages.masking import masked


def test_places_are_replaced_in_any_order() -> None:
    """The order of the masks does not matter and the rest of the text stands."""
    assert masked("mail a@b.io now 1.2.3.4!", [(16, 23, "[ip]"), (5, 11, "[email]")]) == "mail [email] now [ip]!"


def test_overlapping_places_become_one() -> None:
    """What two masks share is hidden once, and nothing of either shows."""
    assert masked("abcdefgh", [(1, 5, "[x]"), (3, 7, "[y]")]) == "a[x]h"


def test_a_place_inside_another_is_part_of_it() -> None:
    """The outer label stands for both."""
    assert masked("abcdefgh", [(1, 7, "[x]"), (2, 3, "[y]")]) == "a[x]h"


def test_no_masks_change_nothing() -> None:
    """Text without findings is itself."""
    assert masked("abc", []) == "abc"


@given(st.text(st.characters(codec="ascii", exclude_characters="[]*"), max_size=30), st.data())
def test_no_masked_character_stays(text: str, data: st.DataObject) -> None:
    """Exactly the characters outside of all masks remain, in order."""
    places = st.tuples(st.integers(0, len(text)), st.integers(0, len(text))).map(sorted).filter(lambda pair: pair[0] < pair[1])
    masks = data.draw(st.lists(places, max_size=5)) if text else []
    kept = "".join(c for at, c in enumerate(text) if not any(start <= at < end for start, end in masks))
    assert masked(text, [(start, end, "*") for start, end in masks]).replace("*", "") == kept
