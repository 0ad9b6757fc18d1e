"""What an input mapping may say, and what it makes of a request."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.templates import ROOTS, InputTemplate, TextTemplate, UnmappedError

EMPTY = {name: dict[str, object]() for name in ROOTS}


def document(**roots: object) -> dict[str, object]:
    return {**EMPTY, **roots}


def test_a_value_that_is_one_expression_keeps_its_type_and_text_around_it_makes_text() -> None:
    made = InputTemplate({"id": "{{ body.invoice.id }}", "all": ["{{ body.lines }}", 3, None], "why": "for {{ subject.id|upper }}!"})
    body = {"invoice": {"id": 4711}, "lines": [{"a": 1}]}
    assert made.fill(document(body=body, subject={"id": "anna"})) == {"id": 4711, "all": [[{"a": 1}], 3, None], "why": "for ANNA!"}


def test_fields_are_looked_up_in_the_document_also_where_a_dictionary_has_such_a_method() -> None:
    assert InputTemplate("{{ body.items }}").fill(document(body={"items": [1]})) == [1]
    with pytest.raises(UnmappedError, match="nothing for"):
        InputTemplate("{{ body.items }}").fill(document(body={}))


@pytest.mark.parametrize(
    "source",
    [
        "{{ nope }}", "{% for each in body %}x{% endfor %}", "{{ body() }}", "{{ body.a.format('x') }}", "{{ body * 3 }}", "{{ 2 ** 9 }}",
        "{{ body|safe }}", "{{ body is odd }}", "{{", "{{ body }", "{{ range }}",
    ],
)  # fmt: skip
def test_what_is_more_than_an_expression_is_refused_when_it_is_read(source: str) -> None:
    with pytest.raises(ValueError, match="has "):
        InputTemplate({"field": source})


@pytest.mark.parametrize("source", ["{{ body.__class__ }}", "{{ body['__init__'] }}", "{{ subject.id.__class__.__mro__ }}"])
def test_nothing_has_attributes(source: str) -> None:
    with pytest.raises(UnmappedError):
        InputTemplate(source).fill(document(subject={"id": "anna"}))


def test_what_the_request_lacks_is_never_an_empty_value() -> None:
    for source in ("{{ body.a }}", "x {{ body.a }}", "{{ body.a.b }}", "x {{ body.null }}"):
        with pytest.raises(UnmappedError):
            InputTemplate(source).fill(document(body={"null": None}))
    assert InputTemplate("{{ body.a|default('none') }}").fill(document(body={})) == "none"
    assert InputTemplate("{{ body.a if body.b else 0 }}").fill(document(body={"b": False})) == 0


def test_a_line_of_text_is_not_empty_and_has_no_control_characters() -> None:
    made = TextTemplate("orders.{{ body.region }}")
    assert made.fill(document(body={"region": "eu"})) == "orders.eu"
    assert TextTemplate("{{ body.n }}").fill(document(body={"n": 7})) == "7"
    for region in ("a\nb", "\x00", None):
        with pytest.raises(UnmappedError):
            made.fill(document(body={"region": region}))
    for value in ("", {"a": 1}, [1]):
        with pytest.raises(UnmappedError):
            TextTemplate("{{ body.v }}").fill(document(body={"v": value}))


def test_values_of_a_request_are_never_expressions() -> None:
    assert InputTemplate("{{ body.a }} and {{ body.a }}").fill(document(body={"a": "{{ subject.id }}"})) == (
        "{{ subject.id }} and {{ subject.id }}"
    )


def test_braces_are_written_between_raw_and_endraw() -> None:
    assert InputTemplate("{% raw %}{{ body }}{% endraw %}").fill(EMPTY) == "{{ body }}"


def test_a_result_has_an_upper_bound() -> None:
    with pytest.raises(UnmappedError, match="mebibyte"):
        InputTemplate(["{{ body }}"] * 3).fill(document(body="x" * 500_000))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), lambda each: st.lists(each) | st.dictionaries(st.text(), each)
    )
)
def test_any_json_value_goes_through_unchanged(value: object) -> None:
    assert InputTemplate(["{{ body }}"]).fill(document(body=value)) == [value]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda each: st.lists(each, max_size=2) | st.dictionaries(st.sampled_from(("a", "b", "items")), each, max_size=3),
)


@given(JSON, st.lists(st.sampled_from(("a", "b", "items")), max_size=3))
def test_a_plain_path_gives_what_the_same_path_gives_within_an_expression(body: Any, path: list[str]) -> None:
    """A plain one is walked without Jinja."""
    words = ".".join(("body", *path))
    assert made_of(f"{{{{ {words} }}}}", body) == made_of(f"{{{{ {words} if 1 else 0 }}}}", body)


def made_of(source: str, body: Any) -> Any:
    try:
        return InputTemplate(source).fill(document(body=body))
    except UnmappedError:
        return UnmappedError


@given(
    st.text(max_size=20)
    | st.text(st.characters(), max_size=6)
    | st.integers()
    | st.sampled_from((-(2**63) - 1, -(2**63), 2**63, 2**64 - 1, 2**64))
    | st.booleans()
    | st.none()
    | st.lists(st.text(), max_size=1)
)
def test_short_text_is_held_to_what_all_values_are_held_to(value: Any) -> None:
    """It is seen to be so at a glance; whatever else comes is looked at."""
    template = TextTemplate("{{ body.id }}")
    printable = isinstance(value, str | int) and value != "" and str(value).isprintable()
    if printable and (isinstance(value, str) or -(2**63) <= value < 2**64):  # numbers as JSON's writer takes them
        assert template.fill({"body": {"id": value}}) == str(value)
    else:
        with pytest.raises(UnmappedError):
            template.fill({"body": {"id": value}})
