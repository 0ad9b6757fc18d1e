"""The result schema and the reader of results agree."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from adapters.rego.result import parse_result
from router.errors import PolicyError
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
        "headers": st.just({"a": "b"}) | st.just({"a": 1}) | odd,
        "fields": st.just(["a"]) | odd,
    },
)
names = st.sampled_from(["mask_body", "add_headers", "require_review", "log", "other"]) | odd
obligations = st.fixed_dictionaries({}, optional={"name": names, "params": params | odd, "x": odd})
results = st.fixed_dictionaries(
    {},
    optional={
        "effect": st.sampled_from(["allow", "deny", "review", "reroute", "Allow"]) | odd,
        "reasons": st.lists(reasons, max_size=2) | odd,
        "obligations": st.lists(obligations, max_size=2) | odd,
        "route": st.sampled_from(["safe", "Not"]) | odd,
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
def test_a_result_is_read_exactly_when_the_schema_allows_it(raw):
    """What is published is what is accepted."""
    assert readable(raw) == VALID.is_valid(raw)
