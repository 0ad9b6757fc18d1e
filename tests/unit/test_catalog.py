from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from router.catalog import Catalog, Match, utterances
from router.catalog_checks import covers


def match(**conditions: Any) -> Match:
    return Match.model_validate(conditions)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"path": "/a"}, {"path": "/a"}),
        ({"path": "/a/{x}"}, {"path": "/a/{y}"}),
        ({"path": "/a/{x}"}, {"path": "/a/b"}),
        ({"path": "/a/{rest...}"}, {"path": "/a/b/c"}),
        ({"path": "/a/{rest...}"}, {"path": "/a/{x}/{rest...}"}),
        ({"method": "GET"}, {"method": "GET", "path": "/a"}),
        ({"method": ["GET", "PUT"], "path": "/a"}, {"method": "PUT", "path": "/a"}),
        ({"header": {"x-kind": "a"}}, {"header": {"x-kind": "a", "x-more": "b"}}),
        ({"json": {"$.a": 1}}, {"json": {"$.a": 1}, "regex": "x"}),
        ({"regex": "x"}, {"regex": "x", "method": "GET"}),
    ],
)
def test_fewer_conditions_cover_more_of_the_same(first: dict[str, Any], second: dict[str, Any]) -> None:
    """A rule takes everything that a rule with the same and further conditions would."""
    assert covers(match(**first), match(**second))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"path": "/a"}, {"path": "/b"}),
        ({"path": "/a"}, {"path": "/{x}"}),
        ({"path": "/a/{x}"}, {"path": "/a"}),
        ({"path": "/a/{x}"}, {"path": "/a/{rest...}"}),
        ({"path": "/a"}, {"method": "GET"}),
        ({"method": "GET"}, {"method": ["GET", "PUT"]}),
        ({"method": "GET"}, {"path": "/a"}),
        ({"header": {"x-kind": "a"}}, {"header": {"x-kind": "b"}}),
        ({"json": {"$.a": 1}}, {"json": {"$.a": 2}}),
        ({"regex": "x"}, {"regex": "y"}),
        ({"regex": "x"}, {"path": "/a"}),
    ],
)
def test_a_rule_that_leaves_something_over_covers_nothing(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Where one request would be left for the second rule, it is reachable."""
    assert not covers(match(**first), match(**second))


def test_utterances_are_lines() -> None:
    """Blank lines and comments are left out, line numbers are those of the file."""
    assert utterances("# title\n\nwhere is it\n  how far \r\n#no\n") == [(3, "where is it"), (4, "how far")]


def test_models_are_frozen() -> None:
    """A snapshot that serves requests cannot be changed under them."""
    catalog = Catalog.model_validate({"version": 1, "destinations": {"a": {"adapter": "http"}}, "routes": {"r": {"destination": "a"}}})
    with pytest.raises(ValidationError, match="frozen"):
        catalog.routes["r"].destination = "b"


def test_json_values_keep_their_types() -> None:
    """`1`, `true` and `"1"` are three different conditions."""
    found = match(json={"$.a": 1, "$.b": True, "$.c": "1", "$.d": None, "$.e": 1.5}).values
    assert [type(value) for value in found.values()] == [int, bool, str, type(None), float]
