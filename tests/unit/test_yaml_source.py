from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.yaml_source import plain, read_yaml


def value(text: str, **environment: str) -> Any:
    document, faults = read_yaml("x.yaml", text.encode(), environment)
    assert faults == []
    assert document is not None
    return document.value


def sentences(data: bytes, **environment: str) -> list[str]:
    return [str(fault) for fault in read_yaml("x.yaml", data, environment)[1]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("12", 12),
        ("-3", -3),
        ("0.5", 0.5),
        ("1e3", 1000.0),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("True", "True"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        (".inf", ".inf"),
        ("1" * 5000, "1" * 5000),
    ],
)
def test_plain_scalars_are_not_guessed_at(text: str, expected: Any) -> None:
    """Norway stays a country: only the plainest words and numbers are anything but text."""
    assert plain(text) == expected
    assert type(plain(text)) is type(expected)


def test_quoted_scalars_are_text() -> None:
    """Quotes mean text, whatever is in them."""
    assert value("a: '1'\nb: \"true\"\nc: |\n  null\n") == {"a": "1", "b": "true", "c": "null\n"}


def test_keys_are_text() -> None:
    """A key that looks like a number or a boolean is still a name."""
    assert value("1: a\ntrue: b\n") == {"1": "a", "true": "b"}


def test_every_node_has_its_line() -> None:
    """Keys, list items and nested nodes are found again by line."""
    document, _ = read_yaml("x.yaml", b"a:\n  - b: 1\n  -\n    c: 2\n", {})
    assert document is not None
    assert document.line(("a",)) == 1
    assert document.line(("a", 0, "b")) == 2
    assert document.line(("a", 1, "c")) == 4
    assert document.line(("a", 1, "missing")) == 4


def test_variables_are_filled_in() -> None:
    """Values come from the environment, or from the default where that is unset or empty."""
    assert value("a: ${A}/x\nb: ${B:-two}\nc: '${C:-}'\nd: $${A}\n", A="one", B="") == {"a": "one/x", "b": "two", "c": "", "d": "${A}"}


def test_values_of_variables_are_only_text() -> None:
    """A value from the environment cannot become structure, nor be filled in again."""
    assert value("a: ${A}", A="{x: [1]}") == {"a": "{x: [1]}"}
    assert value("a: ${A}", A="${B}", B="no") == {"a": "${B}"}


def test_an_unset_variable_is_a_fault() -> None:
    """Nothing is silently empty."""
    assert sentences(b"a: 1\nb: ${NOPE}\n") == ["x.yaml:2: The environment variable NOPE is not set, or empty."]


def test_aliases_are_written_out_with_their_lines() -> None:
    """An alias stands for the anchored value; faults below it point to where the value is written."""
    document, faults = read_yaml("x.yaml", b"a: &a\n  k: 1\nb: *a\n", {})
    assert faults == []
    assert document is not None
    assert document.value == {"a": {"k": 1}, "b": {"k": 1}}
    assert document.line(("b",)) == 3
    assert document.line(("b", "k")) == 2


def test_a_file_that_contains_itself_is_refused() -> None:
    """A recursive anchor is not known yet where it is used."""
    assert sentences(b"a: &a [*a]\n") == ["x.yaml:1: The alias *a names no anchor above it."]


def test_a_byte_order_mark_is_dropped() -> None:
    """Some editors write one."""
    document, faults = read_yaml("x.yaml", "\ufeffa: 1\n".encode(), {})
    assert faults == []
    assert document is not None
    assert document.value == {"a": 1}


def test_utf16_is_refused_with_a_sentence() -> None:
    """Other encodings are named as what they are not."""
    assert sentences("a: ä\n".encode("utf-16")) == ["x.yaml:1: The file is not UTF-8 text."]


@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    """Whatever a file holds, there is a document or a fault."""
    document, faults = read_yaml("x.yaml", data, {})
    assert document is not None or faults


@given(st.text(alphabet="ab: -[]{}&*!|>'\"#\n\t$,?%", max_size=80))
def test_no_text_makes_it_raise(text: str) -> None:
    """Whatever YAML's own characters are put together to, there is a document or a fault."""
    document, faults = read_yaml("x.yaml", text.encode(), {})
    assert document is not None or faults
