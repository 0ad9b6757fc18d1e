"""RFC 8785 as the `rfc8785` package implements it, against what leaves are written with."""

from __future__ import annotations

from typing import Any

import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from router.audit.records.canonical import MAX_INTEGER, canonical, is_canonical

ASCII = st.text(st.characters(max_codepoint=127), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | st.text(max_size=20)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(ASCII, inner, max_size=5), max_leaves=25)
LEAVES = st.dictionaries(ASCII, VALUES, max_size=8)


@given(LEAVES)
def test_leaves_are_canonical_json(leaf: dict[str, Any]) -> None:
    """Under the leaf's restrictions sorted orjson output is RFC 8785, byte for byte."""
    assert canonical(leaf) == rfc8785.dumps(leaf)
    assert is_canonical(canonical(leaf))


@given(LEAVES, st.sampled_from([0.5, -1.25, 1e300, 2**53, -(2**53)]))
def test_a_float_or_a_large_integer_is_not_canonical(leaf: dict[str, Any], number: float) -> None:
    """Such numbers do not survive every reader, so no leaf may hold one."""
    for value in (number, [number], {"deep": [1, number]}):
        assert not is_canonical(canonical({**leaf, "number": value}))


def test_other_forms_of_the_same_json_are_not_canonical() -> None:
    """White space, key order, duplicate keys, escapes and anything but an object are found."""
    assert is_canonical(b'{"a":1,"b":"x"}')
    for leaf in (b'{"a": 1}', b'{"b":1,"a":2}', b'{"a":1,"a":1}', b'{"a":"\\u0041"}', b"[1]", b"1", b"", b'{"a":1', b'{"\xc3\xa4":1.0}'):
        assert not is_canonical(leaf)
