"""The wire to processes that evaluate."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.rego.framing import ANSWERED, FAILED, LENGTH, answer, answered, asked, frame, question, read_frame

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=2), TEXT)
def test_a_question_arrives_as_it_was_put(places, document):
    """Rules and document."""
    assert asked(question(places, document)[LENGTH.size :]) == (places, document)


@given(st.lists(st.tuples(st.sampled_from([ANSWERED, FAILED]), TEXT), min_size=1, max_size=2))
def test_an_answer_arrives_as_it_was_given(parts):
    """Kinds and texts, in order."""
    assert answered(answer(parts)[LENGTH.size :], len(parts)) == parts


@given(st.binary(max_size=40), st.integers(1, 2))
def test_whatever_else_arrives_is_no_answer(content, rules):
    """Any bytes are either exactly an answer or refused."""
    try:
        parts = answered(content, rules)
    except ValueError:
        return
    assert answer(parts)[LENGTH.size :] == content
    assert len(parts) == rules


@pytest.mark.parametrize("sent", [b"", b"\x00\x00", frame(b"half a frame")[:-3]])
def test_a_frame_that_breaks_off_is_none(sent):
    """The other side is gone."""
    ours, theirs = os.pipe()
    os.write(theirs, sent)
    os.close(theirs)
    assert read_frame(ours) is None
    os.close(ours)
