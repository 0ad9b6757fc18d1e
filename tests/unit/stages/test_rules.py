"""Deterministic rules: which conditions hold, in which order rules are tried, and when nobody can say."""

from __future__ import annotations

import random
from dataclasses import replace
from string import ascii_lowercase
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.decision import NO_BODY, BodyView, RuleMatch
from router.stages.rule import Rule, json_path
from router.stages.rule_buckets import END, FEW, Methods
from router.stages.rules import Looked, RuleIndex

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


WORDS = ["cancel", "pay", "refund"]
ANY_RULE = st.builds(
    Rule,
    name=st.just(""),
    methods=st.sets(st.sampled_from(["GET", "POST"])).map(frozenset),
    path=st.none() | st.sampled_from(["/a", "/{x}", "/{rest...}", "/a/{x}"]),
    headers=st.lists(st.tuples(st.sampled_from(["k", "l"]), st.sampled_from(["1", "2"])), max_size=2).map(tuple),
    json=st.lists(
        st.tuples(st.sampled_from([(), ("a",), ("a", "b"), ("a", "0")]), st.sampled_from([None, 1, 1.5, True, False, "x", [1], {"b": 1}])),
        max_size=2,
    ).map(tuple),
    regex=st.none()
    | st.sampled_from([*WORDS, r"(?i)CANCEL|void", r"^pay$", r"(?P<n>pay)", r"(?P<n>refund)", r"\d+", r"\Qpay", "(?i)\u212aay|k"]),
)
ANY_JSON = st.sampled_from(
    [None, 1, True, "x", {}, {"a": None}, {"a": 1}, {"a": 1.0}, {"a": True}, {"a": [1]}, {"a": {"b": 1}}, {"a": ["x"]}]
)
ANY_BODY = (
    st.none()
    | st.sampled_from([TRUNCATED, BROKEN, UNREAD, NO_BODY])
    | st.builds(
        BodyView, st.just(b"x"), st.just("d"), text=st.none() | st.sampled_from([*WORDS, "pay 4711", "void", "\ud800 pay"]), json=ANY_JSON
    )
)


def holds(rule: Rule, method: str, path: str, headers: Any, body: BodyView | None) -> bool | None:
    """The same by itself, where no index can leave it out."""
    looked = look(rule, method=method, path=path, headers=headers, body=body)
    return None if looked.undecided else looked.match is not None


@settings(max_examples=500)
@given(
    st.lists(ANY_RULE, max_size=90),
    st.sampled_from(["GET", "POST", "PUT"]),
    st.sampled_from(["/a", "/b", "/a/b", "/"]),
    st.lists(st.tuples(st.sampled_from(["k", "l"]), st.sampled_from(["1", "2"])), max_size=3),
    ANY_BODY,
)
def test_many_rules_agree_with_trying_each(rules: list[Rule], method: str, path: str, headers: Any, body: BodyView | None) -> None:
    """Whatever they ask for: the first that holds decides, unless one before it cannot be judged."""
    named = [replace(rule, name=str(number)) for number, rule in enumerate(rules)]
    told = ((rule.name, holds(rule, method, path, headers, body)) for rule in named)
    first = next(((name, held) for name, held in told if held is not False), (None, False))
    looked = look(*named, method=method, path=path, headers=headers, body=body)
    assert (looked.match.rule if looked.match else None, looked.undecided) == ((None, True) if first[1] is None else (first[0], False))


@pytest.mark.parametrize(
    "make",
    [
        lambda number: Rule("r", headers=(("kind", str(number)),)),
        lambda number: Rule("r", json=((("a",), number),)),
        lambda number: Rule("r", regex=rf"\bword{number}\b"),
        lambda number: Rule("r", methods=frozenset([f"M{number}"])),
    ],
    ids=["header", "json", "regex", "method"],
)
def test_of_a_thousand_rules_few_are_looked_at(make: Any) -> None:
    """By a header, a value, an expression or a method."""
    methods = Methods([make(number) for number in range(1000)], range(1000))
    found: list[int] = []
    body = BodyView(b"x", "d", text="the word700 of many", json={"a": 700})
    methods.of("M700").find([("kind", "700"), ("other", "1")], body, found)
    assert 700 in found
    assert len(found) <= FEW


def test_an_expression_stands_by_itself_among_others() -> None:
    """One with a quotation that is not closed takes nothing of its neighbours, in RE2's syntax."""
    expressions = [r"\Qrefund (full)", r"\Qwire transfer (SWIFT)\E", "foo0", "foo1", "bar", r"(?P<n>pay)", r"(?P<n>void)"]
    rules = [Rule(str(number), regex=expression) for number, expression in enumerate(expressions)]
    for number, text in enumerate(["a refund (full)", "wire transfer (SWIFT)", "foo0", "foo1", "bar", "pay", "void"]):
        assert matched(*rules, body=BodyView(b"x", "d", text=text)) == str(number)


def test_all_are_looked_at_where_the_words_cannot_be_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """RE2 finds nothing in a pass that ran out of memory, and does not say so."""
    rules = [Rule(str(number), regex=f"word{number}") for number in range(9)]
    methods = Methods(rules, range(9))
    found: list[int] = []
    (expressions,) = methods.of("GET")._expressions
    monkeypatch.setattr(expressions, "_filter", SimpleNamespace(Match=lambda text, potential: []))
    expressions.find(b"word7" + END, found)
    assert found == list(range(9))


def words(number: int, length: int) -> str:
    """That have nothing in common with those of another number."""
    return "".join(random.Random(number).choices(ascii_lowercase, k=length))


@pytest.mark.parametrize("lengths", [[60] * 2500, [60] * 5 + [130_000]], ids=["many words", "long words"])
def test_more_words_than_fit_are_looked_for_in_parts(lengths: list[int]) -> None:
    """RE2 has room for some hundred thousand characters of a pass. An expression that is too long for it is looked at by itself."""
    expressions = [words(number, length) for number, length in enumerate(lengths)]
    index = RuleIndex([Rule(str(number), regex=expression) for number, expression in enumerate(expressions)])
    for number in (0, len(lengths) // 2, len(lengths) - 1):
        looked = index.look("GET", "/", (), BodyView(b"x", "d", text=f"a {expressions[number]} b"))
        assert looked.match is not None
        assert looked.match.rule == str(number)


def test_json_paths() -> None:
    """`$.a.b.0` as its keys."""
    assert json_path("$.a.b.0") == ("a", "b", "0")
    assert json_path("$") == ()
