"""Deterministic rules: which conditions hold, in which order rules are tried, and when nobody can say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decision import NO_BODY, BodyView, RuleMatch
from router.stages.rules import Looked, Rule, RuleIndex, json_path

TRUNCATED = BodyView(b"{", None, truncated=True)
BROKEN = BodyView(b"{", "digest", problem="malformed_json")
UNREAD = BodyView(b'{"a": 1}', "d")  # of a media type that is not looked into


def look(*rules: Rule, method: str = "GET", path: str = "/", headers: Any = (), body: BodyView | None = NO_BODY) -> Looked:
    return RuleIndex(rules).look(method, path, headers, body)


def matched(*rules: Rule, **request: Any) -> str | None:
    match = look(*rules, **request).match
    return match.rule if match is not None else None


@pytest.mark.parametrize(
    ("template", "path", "holds"),
    [
        ("/payments", "/payments", True),
        ("/payments", "/payments/", True),
        ("/payments", "/payments/4711", False),
        ("/payments", "/Payments", False),
        ("/payments/{id}", "/payments/4711", True),
        ("/payments/{id}", "/payments", False),
        ("/payments/{id}", "/payments/", False),
        ("/payments/{id}", "/payments/4711/cancel", False),
        ("/payments/{id}/cancel", "/payments/4711/cancel", True),
        ("/files/{rest...}", "/files/a/b/c", True),
        ("/files/{rest...}", "/file", False),
        ("/{rest...}", "/", True),
        ("/", "/", True),
        ("/", "/x", False),
    ],
)
def test_path_templates(template: str, path: str, holds: bool) -> None:
    """A name in braces is one segment, a final one with dots all the rest."""
    assert (matched(Rule("r", path=template), path=path) == "r") is holds


def test_path_parameters_are_given() -> None:
    """What stood in place of the names comes with the match."""
    rule = Rule("r", "cancel", "payments", path="/{service}/{id}/{rest...}")
    assert look(rule, path="/payments/4711/a/b").match == RuleMatch(
        "r", "cancel", "payments", {"service": "payments", "id": "4711", "rest": "a/b"}
    )


def test_a_literal_that_leads_nowhere_leaves_the_template() -> None:
    """A literal segment is not preferred so much that a matching template is missed."""
    rules = (Rule("literal", path="/a/b/c"), Rule("template", path="/{x}/b/d"))
    assert matched(*rules, path="/a/b/d") == "template"


def test_catalog_order_decides() -> None:
    """Of two rules that match, the first one in the catalog counts, whatever its form."""
    special, general = Rule("special", path="/a/b"), Rule("general", path="/{x}/{y}")
    assert matched(special, general, path="/a/b") == "special"
    assert matched(general, special, path="/a/b") == "general"
    assert matched(Rule("anywhere", methods=frozenset(["GET"])), special, path="/a/b") == "anywhere"


@pytest.mark.parametrize(("method", "holds"), [("GET", True), ("HEAD", True), ("POST", False), ("get", False)])
def test_methods(method: str, holds: bool) -> None:
    """One of the rule's methods, exactly."""
    assert (matched(Rule("r", methods=frozenset(["GET", "HEAD"])), method=method) == "r") is holds


def test_headers() -> None:
    """Every header of the rule is there with exactly that value."""
    rule = Rule("r", headers=(("x-kind", "a"), ("x-other", "b")))
    assert matched(rule, headers=(("x-other", "b"), ("x-kind", "a"), ("y", "c"))) == "r"
    assert matched(rule, headers=(("x-kind", "a"),)) is None
    assert matched(rule, headers=(("x-kind", "a"), ("x-other", "c"))) is None


@pytest.mark.parametrize(
    ("path", "expected", "document", "holds"),
    [
        ("$.action", "cancel", {"action": "cancel"}, True),
        ("$.action", "cancel", {"action": "Cancel"}, False),
        ("$.action", "cancel", {}, False),
        ("$.a.b", 1, {"a": {"b": 1}}, True),
        ("$.a.0", "x", {"a": ["x"]}, True),
        ("$.a.1", "x", {"a": ["x"]}, False),
        ("$.a.b", "x", {"a": ["x"]}, False),
        ("$.a", None, {"a": None}, True),
        ("$.a", None, {}, False),
        ("$.a", 1, {"a": True}, False),
        ("$.a", True, {"a": 1}, False),
        ("$.a", 1, {"a": 1.0}, True),
        ("$.a", False, {"a": 0}, False),
        ("$.a", "x", ["a"], False),
        ("$.a", "x", None, False),
    ],
)
def test_json_conditions(path: str, expected: Any, document: Any, holds: bool) -> None:
    """The value at the path is exactly the expected one; a boolean is no number and a missing value is not null."""
    rule = Rule("r", json=((json_path(path), expected),))
    assert (matched(rule, body=BodyView(b"x", "digest", json=document)) == "r") is holds


def test_text_conditions() -> None:
    """An expression is searched in the request text; without a text it does not hold."""
    rule = Rule("r", regex=r"(?i)cancel payment \d+")
    assert matched(rule, body=BodyView(b"x", "d", text="Please CANCEL payment 4711")) == "r"
    assert matched(rule, body=BodyView(b"x", "d", text="cancel it")) is None
    assert matched(rule, body=NO_BODY) is None


def test_a_lone_surrogate_is_only_text() -> None:
    """Text that is not valid Unicode is searched, not an error."""
    assert matched(Rule("r", regex="cancel"), body=BodyView(b"x", "d", text="\ud800 cancel")) == "r"


@pytest.mark.parametrize("body", [None, TRUNCATED, BROKEN, UNREAD])
@pytest.mark.parametrize("rule", [Rule("r", path="/a", regex="x"), Rule("r", json=((("a",), 1),))])
def test_a_body_that_was_not_seen_stops_the_search(rule: Rule, body: BodyView | None) -> None:
    """Neither does the condition hold nor does it fail, so no later rule may decide."""
    assert look(rule, Rule("later", path="/a"), path="/a", body=body) == Looked(undecided=True)


@pytest.mark.parametrize("body", [None, TRUNCATED, BROKEN])
def test_a_rule_that_fails_by_its_head_does_not_ask_for_the_body(body: BodyView | None) -> None:
    """Where method or path already exclude a rule, its body condition does not matter."""
    assert matched(Rule("r", path="/b", regex="x"), Rule("later", path="/a"), path="/a", body=body) == "later"
    assert matched(Rule("r", methods=frozenset(["PUT"]), regex="x"), Rule("later", path="/a"), path="/a", body=body) == "later"


def test_no_rule_is_no_match() -> None:
    """Without rules nothing is decided and nothing undecided."""
    assert look() == Looked()


SEGMENTS = st.sampled_from(["a", "b", "4711"])
TEMPLATES = st.lists(st.one_of(SEGMENTS, st.just("{x}")), min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(st.lists(TEMPLATES, max_size=6), st.lists(SEGMENTS, min_size=1, max_size=4))
def test_the_tree_agrees_with_trying_every_rule(templates: list[str], segments: list[str]) -> None:
    """The index finds exactly the first rule that a walk over all of them would find."""

    def fits(template: str) -> bool:
        parts = template.strip("/").split("/")
        return len(parts) == len(segments) and all(part in ("{x}", segment) for part, segment in zip(parts, segments, strict=True))

    rules = [Rule(str(number), path=template) for number, template in enumerate(templates)]
    expected = next((str(number) for number, template in enumerate(templates) if fits(template)), None)
    assert matched(*rules, path="/" + "/".join(segments)) == expected


def test_json_paths() -> None:
    """`$.a.b.0` as its keys."""
    assert json_path("$.a.b.0") == ("a", "b", "0")
    assert json_path("$") == ()
