"""The result schema and the reader of results agree."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from adapters.rego.result import parse_result
from router.errors import PolicyError
from router.obligations import KINDS
from tests.unit.policy.halden import ROOT

VALID = Draft202012Validator(json.loads((ROOT / "policies" / "schemas" / "result.json").read_text()))
odd: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-1, 70) | st.sampled_from(["", "a", "A", "24h", "soon"]) | st.just([]) | st.just({})
)
reasons = st.fixed_dictionaries({}, optional={"code": st.sampled_from(["a.b", "B", ""]) | odd, "message": st.just("m") | odd, "x": odd})
params = st.fixed_dictionaries(
    {},
    optional={
        "reviewers": st.lists(st.sampled_from(["a", ""]), max_size=2) | odd,
        "quorum": st.integers(0, 66) | odd,
        "expires": st.just("8h") | odd,
        "headers": st.sampled_from([{"a": "b"}, {"a": 1}, {"X-Lockgate-a": "b"}, {"Host": "a"}, {"a": "ä"}, {"a b": "c"}, {"": "a"}]) | odd,
        "fields": st.sampled_from([["a"], ["/a/b", "/*~1"], ["/~2"], ["/" + "x" * 256]]) | odd,
        "with": st.sampled_from(["-", "x" * 101]) | odd,
        "acr": st.sampled_from([["gold", "urn:a"], ["a b"], ['a"'], ["a\\"]]) | odd,
        "max_age": st.just("5m") | odd,
        "key": st.sampled_from(["tenant", "moon"]) | odd,
        "limit": st.sampled_from([1, 1_000_000, 1_000_001]) | odd,
        "per": st.sampled_from(["1m", "0s", "99999h", "1d"]) | odd,
        "name": st.just("a.b") | odd,
        "destination": st.sampled_from(["shadow", "Shadow"]) | odd,
        "share": st.sampled_from([1, 100, 101]) | odd,
        "bytes": st.sampled_from([1, 1 << 40, (1 << 40) + 1]) | odd,
        "tags": st.sampled_from([["a"], ["A"], ["a"] * 17]) | odd,
    },
)
names = st.sampled_from([*KINDS, "other"]) | odd
obligations = st.fixed_dictionaries({}, optional={"name": names, "params": params | odd, "x": odd})
results = st.fixed_dictionaries(
    {},
    optional={
        "effect": st.sampled_from(["allow", "deny", "review", "reroute", "Allow"]) | odd,
        "reasons": st.lists(reasons, max_size=2) | odd,
        "obligations": st.lists(obligations, max_size=2) | odd,
        "route": st.sampled_from(["safe", "Not"]) | odd,
        "status": st.sampled_from([404, 503, 200, 302, 404.0]) | odd,
        "x": odd,
    },
)


def readable(raw: Any) -> bool:
    try:
        parse_result(raw, "decision")
    except PolicyError:
        return False
    return True


@given(results | odd)
@example({"effect": "allow"})
@example({"effect": "allow", "obligations": [{"name": "mask_body", "params": {}}]})
@example({"effect": "review", "obligations": [{"name": "require_review", "params": {"reviewers": ["a"], "quorum": 2, "expires": "8h"}}]})
@example({"effect": "reroute", "route": "safe"})
@example({"effect": "allow", "route": None})
@example({"effect": "allow", "obligations": [{"name": "log", "params": {"fields": ["a"]}}]})
@example({"effect": "review", "obligations": [{"name": "require_review", "params": {"quorum": True}}]})
@example({"effect": "deny", "status": 404})
@example({"effect": "allow", "status": 404})
@example({"effect": "deny", "status": 302})
@example({"effect": "allow", "obligations": [{"name": "redact_fields", "params": {"fields": ["/a/*/b"], "with": "x"}}]})
@example({"effect": "allow", "obligations": [{"name": "require_step_up", "params": {"acr": ["gold"], "amr": ["hwk"], "max_age": "5m"}}]})
@example({"effect": "allow", "obligations": [{"name": "rate_limit", "params": {"key": "intent", "limit": 3, "per": "1h", "name": "a"}}]})
@example({"effect": "allow", "obligations": [{"name": "mirror", "params": {"destination": "shadow", "share": 5}}]})
@example({"effect": "allow", "obligations": [{"name": "limit_response", "params": {"bytes": 9}}]})
@example({"effect": "allow", "obligations": [{"name": "tag", "params": {"tags": ["a.b"]}}]})
def test_a_result_is_read_exactly_when_the_schema_allows_it(raw):
    """What is published is what is accepted."""
    assert readable(raw) == VALID.is_valid(raw)


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
@given(given=params)
@settings(max_examples=200)
def test_the_params_of_each_obligation_are_read_exactly_when_the_schema_allows_them(name, kind, given):
    """Each by itself, so that none hides behind another."""
    assert kind.valid(given) == VALID.is_valid({"effect": "allow", "obligations": [{"name": name, "params": given}]})
