"""What policy names is not in the body that goes out, however the caller wrote it; what cannot be read does not go out."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import PolicyError
from router.redaction import FORM, redacted

JSON = "application/json"


def out(document: Any, *fields: str, **more: str) -> Any:
    return json.loads(redacted(json.dumps(document).encode(), JSON, [{"fields": list(fields), **more}]))


def refused(body: bytes, content_type: str, *fields: str) -> str:
    with pytest.raises(PolicyError) as caught:
        redacted(body, content_type, [{"fields": list(fields)}])
    return caught.value.code


@pytest.mark.parametrize(
    ("document", "field", "left"),
    [
        ({"customer": {"iban": "DE1", "name": "x"}}, "/customer/iban", {"customer": {"name": "x"}}),
        ({"customer": {"iban": {"no": "DE1"}}}, "/customer", {}),
        ({"items": [{"iban": 1, "a": 1}, {"iban": 2}, 3]}, "/items/*/iban", {"items": [{"a": 1}, {}, 3]}),
        ({"items": ["a", "b", "c"]}, "/items/1", {"items": ["a", None, "c"]}),
        ({"items": ["a"]}, "/items/7", {"items": ["a"]}),
        ({"a": {"x": 1}, "b": {"x": 2}}, "/*/x", {"a": {}, "b": {}}),
        ({"a/b": 1, "m~n": 2}, "/a~1b", {"m~n": 2}),
        ({"a/b": 1, "m~n": 2}, "/m~0n", {"a/b": 1}),
        ({"IBAN": 1, "Iban": 2, "iban": 3}, "/iban", {}),
        ({"": 1, "a": 2}, "/", {"a": 2}),
        ({"a": 1}, "/b/c", {"a": 1}),
        ({"a": "text"}, "/a/b", {"a": "text"}),
        ([{"iban": 1}], "/0/iban", [{}]),
    ],
)
def test_a_pointer_takes_out_what_it_names(document: Any, field: str, left: Any) -> None:
    """RFC 6901, with `*`; names in any case; items leave a null, so that the others keep their places."""
    assert out(document, field) == left


def test_a_text_may_take_the_fields_place() -> None:
    """Of whatever kind the value was."""
    assert out({"a": {"b": 1}, "c": [1, 2]}, "/a", "/c/*", **{"with": "[gone]"}) == {"a": "[gone]", "c": ["[gone]", "[gone]"]}


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_that_name_one_field_the_stricter_wins(order: int) -> None:
    """What one removes and another replaces is removed."""
    wanted = [{"fields": ["/a"], "with": "x"}, {"fields": ["/a"]}][::order]
    assert redacted(b'{"a": 1, "b": 2}', JSON, wanted) == b'{"b":2}'


def test_indexes_mean_the_body_as_it_came() -> None:
    """One removal does not move what another names."""
    assert out({"i": [1, 2, 3]}, "/i/0", "/i/1") == {"i": [None, None, 3]}


def test_a_name_that_stands_twice_does_not_slip_through() -> None:
    """An upstream might read the first of two, and we the last."""
    assert b"DE1" not in redacted(b'{"iban": "DE1", "iban": "DE2", "a": 1}', JSON, [{"fields": ["/iban"]}])
    assert redacted(b'{"c": {"iban": "DE1"}, "c": 1}', JSON, [{"fields": ["/c/iban"]}]) == b'{"c":1}'


def test_an_array_where_a_member_was_named_is_refused() -> None:
    """The body has another shape than policy thought of, and the field may be in it all the same."""
    assert refused(b'{"customer": [{"iban": 1}]}', JSON, "/customer/iban") == "obligation_failed"
    assert refused(b"[1]", JSON, "/-") == "obligation_failed"


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"a": NaN}', b"[" * 100_000, b'{"a": "\\ud800"}'], ids=lambda body: repr(body)[:12])
def test_json_that_cannot_be_read_or_written_is_refused(body: bytes) -> None:
    """What could not be looked through is not sent."""
    assert refused(body, "application/problem+json; charset=utf-8", "/b") == "obligation_failed"


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data; boundary=x", "", "application/xml"])
def test_other_bodies_have_no_fields(content_type: str) -> None:
    """Only JSON and forms do."""
    assert refused(b"x", content_type, "/a") == "obligation_failed"


def test_nothing_is_taken_out_of_no_body() -> None:
    """An empty one goes out as it is."""
    assert redacted(b"", "", [{"fields": ["/a"]}]) == b""


def test_a_form_loses_its_fields_by_name() -> None:
    """Every field of the name, in any case; the others keep their values."""
    left = redacted(b"iban=DE1&IBAN=DE2&note=a%26b+c&empty=", FORM, [{"fields": ["/iban"]}])
    assert parse_qs(left.decode(), keep_blank_values=True) == {"note": ["a&b c"], "empty": [""]}
    assert redacted(b"iban=DE1&x=1", FORM, [{"fields": ["/iban"], "with": "-"}]) == b"iban=-&x=1"


@pytest.mark.parametrize(("body", "field"), [(b"a=1;iban=2", "/iban"), (b"a=%ff", "/a"), (b"=&&", "/a"), (b"\xff", "/a"), (b"a=1", "/a/b")])
def test_a_form_with_two_readings_is_refused(body: bytes, field: str) -> None:
    """Separators that only some servers know, broken encodings, and fields within fields."""
    assert refused(body, FORM, field) == "obligation_failed"


values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.just("SECRET"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "B", "iban"]), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["IBAN", "iban", "x"]), values, max_size=3))
def test_no_named_member_is_left_and_nothing_else_changes(document: dict[str, Any]) -> None:
    """Whatever stood there."""
    assert out(document, "/iban") == {name: value for name, value in document.items() if name.lower() != "iban"}
