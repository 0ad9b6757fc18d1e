"""Folding draws text as a person sees it, in ASCII, and knows where everything came from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.stages.folding import Folded


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("plain", b"plain"),
        ("two\nlines\tand tab", b"two\nlines\tand tab"),
        ("nul\x00 and \x7f gone", b"nul and  gone"),
        ("ｆｕｌｌ　ｗｉｄｔｈ", b"full width"),
        ("naïve Straße", b"naive Strasse"),
        ("раураl", b"paypal"),
        ("zero\u200bwidth\u202e", b"zerowidth"),
        ("١٢٣", b"123"),
        ("ﬁ ①", b"fi 1"),
        ("漢字", b"\xff\xff"),
        ("€", b"\xfe"),
        ("a\ud800b", b"ab"),
        ("non\xa0breaking\u2028line", b"non breaking\nline"),
        ("“quoted” – ’tis", b'"quoted" - \'tis'),
        ("", b""),
    ],
)
def test_what_is_seen_becomes_ascii(text: str, folded: bytes) -> None:
    """Styles, accents, look-alikes and other digits become ASCII; what cannot be seen is dropped."""
    assert Folded(text).data == folded


def test_places_lead_back_into_the_text() -> None:
    """Characters that were dropped or became several still have their place."""
    text = "\u200bﬁve ß!"
    folded = Folded(text)
    assert folded.data == b"five ss!"
    assert folded.span(0, 1) == (1, 2)
    assert folded.span(0, 4) == (1, 4)
    assert folded.span(5, 7) == (5, 6)
    assert folded.span(7, 8) == (6, 7)


@given(st.text(st.characters(codec=None), max_size=100))
def test_every_place_is_in_the_text(text: str) -> None:
    """Each folded byte came from somewhere, in order."""
    folded = Folded(text)
    places = [folded.span(at, at + 1) for at in range(len(folded.data))]
    assert all(0 <= start < end <= len(text) for start, end in places)
    assert places == sorted(places)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_plain_text_stays_as_it_is(text: str) -> None:
    """Printable ASCII is its own folding."""
    folded = Folded(text)
    assert folded.data == text.encode()
    assert not text or folded.span(0, len(text)) == (0, len(text))


def test_every_character_folds_to_single_bytes() -> None:
    """No character of Unicode breaks the folding."""
    everything = "".join(map(chr, range(0x11_0000)))
    folded = Folded(everything)
    assert b"abcdefghijklmnopqrstuvwxyz" in folded.data
    assert folded.span(0, len(folded.data))[1] <= len(everything)
