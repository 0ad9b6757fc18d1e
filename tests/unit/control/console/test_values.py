"""Values of a JSON body as fields of a form, and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.control.console.values import NAME, WRONG, sheet, text_of
from router.review.places import kind_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def values(value: Any) -> list[Any]:
    return [{"pointer": "/a", "kind": kind_of(value), "value": value}]


@given(JSON)
def test_a_form_that_is_sent_as_it_came_changes_nothing(value: Any) -> None:
    """Whatever stands there; and with lines' ends as browsers send them. What no field can keep is not offered."""
    found, changes = sheet(values(value), {NAME + "/a": text_of(value).replace("\n", "\r\n")})
    assert changes == {}
    assert found.wrong == []
    assert len(found.fields) + len(found.unheld) == 1


@given(st.text(max_size=20).filter(lambda text: "\r" not in text))
def test_text_is_what_was_typed(text: str) -> None:
    """No quotation marks, and whatever looks like JSON stays text."""
    _, changes = sheet(values("before"), {NAME + "/a": text})
    assert changes == ({"/a": text} if text != "before" else {})


@pytest.mark.parametrize(
    ("value", "typed", "becomes"),
    [
        (5, " 12 ", 12),
        (5, "99.5", 99.5),
        (True, "false", False),
        ([1], "[true]", [True]),
        ({"a": 1}, '{"a": 2}', {"a": 2}),
        (None, '"text"', "text"),
        (None, "7", 7),
    ],
)
def test_other_values_are_read_as_json_of_their_kind(value: Any, typed: str, becomes: Any) -> None:
    """One and true are two things."""
    found, changes = sheet(values(value), {NAME + "/a": typed})
    assert (found.wrong, json.dumps(changes)) == ([], json.dumps({"/a": becomes}))


@pytest.mark.parametrize(
    ("value", "typed"),
    [
        *((5, typed) for typed in ("", "twelve", "true", '"5"', "NaN", "-Infinity", "1e", "0.12345678901234567890123", "[5]")),
        (True, "1"),
        (True, "yes"),
        ([1], "1, 2"),
        ([1], "{}"),
        ({"a": 1}, '{"a": 1, "a": 2}'),
        (None, "text"),
        (None, ""),
    ],
)
def test_what_is_of_another_kind_is_told_beside_its_field(value: Any, typed: str) -> None:
    """What was typed stays in the field, and asks for nothing."""
    found, changes = sheet(values(value), {NAME + "/a": typed})
    (field,) = found.wrong
    assert (field.text, field.wrong, changes) == (typed, WRONG[kind_of(value)], {})


def test_what_is_too_much_for_a_form_is_named() -> None:
    """Also what no field of a browser keeps as it is."""
    many = [
        {"pointer": f"/{name}", "kind": "text", "value": text}
        for name, text in (("long", "é" * 4000), ("odd", "a\rb"), ("back", "a\u202eb"), ("good", "x"))
    ]
    found, _ = sheet(many)
    assert ([each.pointer for each in found.fields], list(found.unheld)) == (["/good"], ["/long", "/odd", "/back"])
