"""What of the input a policy can read, as it is found in its text."""

from __future__ import annotations

import pytest

from adapters.rego.embedded import _compile
from adapters.rego.reads import Read, reads

DECISION = ("data", "lockgate", "decision")
LIB = """package lockgate.lib

open(seen) if seen.signals.findings == {}

named(seen) := object.get(seen, ["intent", "name"], "")

passed(seen) if open(seen)

all_of(seen) if seen == {}

"""


def found(*lines: str, **others: str):
    files = {"d.rego": "\n\n".join(("package lockgate.decision", *lines)), "lib.rego": LIB, **others}
    paths = reads(_compile(files), DECISION)
    return None if paths is None else {said(each) for each in paths}


def said(read: Read) -> str:
    member = f"[{'.'.join(read.by)}]" if read.by else ""
    return ".".join(read.path) + member + (" kind" if read.kind else "")


@pytest.mark.parametrize(
    ("line", "paths"),
    [
        ("x := 1", set()),
        ("x if input.a.b == 1", {"a.b"}),
        ('x if input["a"]["b"] == 1', {"a.b"}),
        ("x if { some role in input.subject.roles; role == input.a }", {"subject.roles", "a"}),
        ("x if input.a[_].b == 1", {"a"}),
        ("x if input.a[input.b].c == 1", {"a", "b"}),
        ("x if { input.a.b; input.a.c.d; input.a }", {"a"}),
        ("x := [each | some each in input.list]", {"list"}),
        ("x contains input.key if input.value", {"key", "value"}),
        ("x[input.key] := input.value", {"key", "value"}),
        ("x := 1 if input.a\n\nelse := input.b", {"a", "b"}),
        ("default x := false", set()),
        ('x := object.get(input, ["a", "b"], input.c)', {"a.b", "c"}),
        ("x if { input.a with input.b as input.c }", {"a", "c"}),
        ("x if { every y in input.a { y == input.b } }", {"a", "b"}),
        ("x := data.lockgate.config.table[input.host]", {"host"}),
        ("f(y) if y.signals\n\nx if f(input.risk)", {"risk"}),
        ("import input.subject as who\n\nx if who.roles[0] == input.a", {"subject.roles", "a"}),
        ("import input as asked\n\nx if asked.a.b", {"a.b"}),
        ("f(y) if y.signals.a\n\nx if f(input)", {"signals.a"}),
        ("f(input.a) := 1\n\nx if f(1)", {"a"}),
        ('f([{"key": input.a}, y]) := y\n\nx if f([{"key": 1}, 2])', {"a"}),
    ],
)
def test_paths_are_found_where_they_are_written(line, paths):
    """Up to the part that is only known when it is evaluated."""
    assert found(line) == paths


@pytest.mark.parametrize(
    ("lines", "paths"),
    [
        (("x if input.headers[data.lockgate.config.name] == 1",), {"headers[data.lockgate.config.name]"}),
        (("x if input.headers[data.lockgate.config.name].part",), {"headers[data.lockgate.config.name]"}),
        (("import data.lockgate.config\n\nx if input.headers[config.name]",), {"headers[data.lockgate.config.name]"}),
        (("f(y) if y.headers[data.lockgate.config.name]\n\nx if f(input)",), {"headers[data.lockgate.config.name]"}),
        (("x if input.headers[data.lockgate.config.name]", "y if input.headers"), {"headers"}),
        (("x if is_object(input.headers)",), {"headers kind"}),
        (("f(y) if is_string(y.host)\n\nx if f(input)",), {"host kind"}),
        (("x if is_object(input.headers)", "y if input.headers.a"), {"headers kind", "headers.a"}),
        (("x if is_object(input.a)", "y if input.a.b", "z := input.a"), {"a"}),
    ],
)
def test_a_member_that_a_setting_names_and_a_mere_kind_are_less_than_the_whole(lines, paths):
    assert found(*lines) == paths


@pytest.mark.parametrize(
    ("lines", "paths"),
    [
        (("x if input.a[data.lockgate.other.name]",), {"a"}),
        (("x if input.a[data.lockgate.config]",), {"a"}),
        (("x if { some name in [1, 2]; input.a[name] }",), {"a"}),
        (("x if input.a[data.lockgate.config[input.b]]",), {"a", "b"}),
        (("x if input.a[data.lockgate.config.name]", 'y if z with data.lockgate.config.name as "b"', "z if input.c"), {"a", "c"}),
        (("is_object(y) if y.b\n\nx if is_object(input.a)",), {"a"}),
        (("x if is_object(input.a[_])",), {"a"}),
        (("x if is_set(input.a)",), {"a"}),
    ],
)
def test_what_is_not_surely_less_is_the_whole(lines, paths):
    """A name that no setting gives, settings that are replaced, a function of one's own that is called as a builtin."""
    assert found(*lines) == paths


def test_settings_that_rules_add_to_name_no_member():
    rule = {"c.rego": "package lockgate.config\n\nname := data.lockgate.lib.other"}
    assert found("x if input.a[data.lockgate.config.name]", **rule) == {"a"}


@pytest.mark.parametrize(
    "lines",
    [
        ("x := input",),
        ("x := count(input)",),
        ("x := input[data.lockgate.config.key]",),
        ("x if { walk(input, [path, value]); value == path }",),
        ("x := [input]",),
        ("x if { y := input; y.a }",),
        ("x := object.get(input, data.lockgate.config.path, 1)",),
        ("x if is_object(input)",),
        ("f([a, b]) if a == b\n\nx if f(input)",),
        ("import data.lockgate.lib\n\nx if lib.all_of(input)",),
        ("x if data.lockgate.lib.all_of(input)",),
        ("f(y) if g(y)\n\ng(z) if count(z) > 1\n\nx if f(input)",),
    ],
)
def test_what_may_read_everything_is_known_by_no_paths(lines):
    """Then no answer is remembered."""
    assert found(*lines) is None


def test_a_function_that_is_called_as_a_builtin_is_looked_into():
    """`object.get` by an import of that name reads what it reads, not what the builtin would."""
    own = {"own.rego": "package lockgate.object\n\nget(seen, path, other) := seen.hidden if path != other"}
    assert found('import data.lockgate.object\n\nx := object.get(input, ["a"], 1)', **own) == {"hidden"}


def test_functions_elsewhere_are_looked_into():
    """Also where they hand the input on."""
    assert found("import data.lockgate.lib\n\nx if lib.passed(input)\n\ny := lib.named(input)") == {"signals.findings", "intent.name"}


@pytest.mark.parametrize(
    "line",
    [
        "x := data.lockgate.rules.a.deny",
        "x := data.lockgate.rules.a",
        "x := data.lockgate.rules",
        'x := data.lockgate["rules"].a.deny',
        "x := data.lockgate[input.which].a",
        "import data.lockgate.rules.a\n\nx := a.deny",
        "import data.lockgate.rules as all\n\nx := all.a.deny",
    ],
)
def test_rules_of_other_packages_count(line):
    """However much of their name is written."""
    rules = {
        "a.rego": "package lockgate.rules.a\n\nimport data.lockgate.rules.b\n\ndeny if b.deny",
        "b.rego": "package lockgate.rules.b\n\ndeny if input.deep",
    }
    paths = found(line, **rules)
    assert paths is not None
    assert "deep" in paths


def test_packages_that_nobody_names_do_not_count():
    """An intent's own package is asked by itself."""
    assert found("x if input.a", **{"i.rego": "package lockgate.intents.pay\n\nresult := input.b"}) == {"a"}
