"""Policies that say which of their rules held."""

from __future__ import annotations

import orjson
import pytest

from adapters.rego.embedded import UNDEFINED, interpreter
from adapters.rego.instrument import Explainer, without
from tests.conformance.test_rego_differential import documents
from tests.unit.policy.halden import ROOT, rego

TEXT = """package lockgate.a

x := "é" if input.a == "b" else := "c"

y contains `raw` if {
	input.a # a remark
	1 == 1 # another
}

z contains {"a": [input.b]} if { every k in [1] { k == 1 } }

u[k] := n if some k, n in {"a": input.b}

f("x") := "y"

g := f("x")

d := 1 if { input.nothing } { input.b }

w if "b" in [input.a]

else if "c" in [input.a]

v := input.list[input.b]

default o := "none"

o := "some" if input.nothing
"""


@pytest.fixture(scope="module")
def explainer():
    return Explainer({"a.rego": TEXT}, {})


@pytest.mark.parametrize(
    ("rule", "held"),
    [
        ("x", [("x", 3, "é", {})]),
        ("y", [("y", 5, "raw", {})]),
        ("z", [("z", 10, {"a": [1]}, {})]),
        ("u", [("u", 12, 1, {"k": "a", "n": 1})]),
        ("g", [("f", 14, "y", {}), ("g", 16, "y", {})]),
        ("d", [("d", 18, 1, {})]),
        ("w", [("w", 20, None, {})]),
        ("v", [("v", 24, 7, {})]),
        ("o", []),
    ],
)
def test_what_held_is_told_with_value_and_variables(explainer, rule, held):
    """Whatever way a rule is written."""
    found = explainer.explain(f"data.lockgate.a.{rule}", {"a": "b", "b": 1, "list": [6, 7]})
    assert [(each.definition.rule[-1], each.definition.line, each.value, each.variables) for each in found.held] == held


def test_what_was_come_to_and_did_not_hold_is_told(explainer):
    """Each else by itself."""
    found = explainer.explain("data.lockgate.a.w", {"a": "c"})
    assert [(each.name, each.line) for each in found.not_held] == [("lockgate.a.w", 20)]
    assert [(each.definition.name, each.definition.line) for each in found.held] == [("lockgate.a.w", 22)]


def test_an_error_ends_what_there_is_to_tell():
    """It does not end the caller."""
    found = Explainer({"a.rego": "package lockgate.a\n\nx := 1 / input.zero\n"}, {}).explain("data.lockgate.a.x", {"zero": 0})
    assert (found.answer, found.held) == ("", ())


def test_bodies_on_one_line_are_told_apart(explainer):
    """One held, the other did not; and each can be left out by itself."""
    found = explainer.explain("data.lockgate.a.x", {"a": "z"})
    assert ([each.body for each in found.not_held], [each.definition.body for each in found.held]) == ([0], [1])
    first = without({"a.rego": TEXT}, [each for each in explainer.definitions if each.rule[-1] == "x" and each.body == 0])
    engine = interpreter(first, "{}")
    engine.set_input_json('{"a": "b"}')
    assert engine.eval_rule_as_json("data.lockgate.a.x") == '"c"'


SAYING = """\
package lockgate.a

c := "one" if input.a

c := {
	"two":
	[1],
} if input.b

else := "three" if input.c

m["k"] := "four" if input.a

after := "five" if true
"""


@pytest.mark.parametrize(
    ("line", "given", "answers"),
    [
        (3, "a", ['"other"', '"five"', '"four"']),
        (5, "b", ['"other"', '"five"', UNDEFINED]),
        (10, "c", ['"other"', '"five"', UNDEFINED]),
        (12, "a", ['"one"', '"five"', UNDEFINED]),
    ],
    ids=["a word", "of several lines", "an else", "a key's"],
)
def test_a_definition_says_something_else(line, given, answers):
    """On the same lines; what stands under a key is left out instead."""
    explainer = Explainer({"a.rego": SAYING}, {})
    (found,) = [each for each in explainer.definitions if each.line == line]
    text = without({"a.rego": SAYING}, {found: '"other"'})["a.rego"]
    assert text.count("\n") == SAYING.count("\n")
    engine = interpreter({"a.rego": text}, "{}")
    engine.set_input_json(orjson.dumps({given: 1}).decode())
    assert [engine.eval_rule_as_json(f"data.lockgate.a.{each}") for each in ("c", "after", "m.k")] == answers


def test_the_copy_answers_as_the_policies_do():
    """For hundreds of documents, broken ones among them."""
    policies, data = rego(ROOT / "policies"), orjson.dumps({}).decode()
    explained, plain = Explainer(policies, {}), interpreter(policies, data)
    for number, document in enumerate(documents(3)):
        if number == 300:
            break
        for entry in ("admission", "decision"):
            plain.set_input_json(orjson.dumps(document).decode())
            try:
                answer = plain.eval_rule_as_json(f"data.lockgate.{entry}.result")
            except RuntimeError:
                answer = ""
                plain = interpreter(policies, data)
            assert explained.explain(f"data.lockgate.{entry}.result", document).answer == answer


@pytest.mark.parametrize(
    ("rule", "line", "left"),
    [
        ("x", 3, None),
        ("y", 5, "[]"),
        ("z", 10, "[]"),
        ("u", 12, "{}"),
        ("f", 14, None),
        ("g", 16, None),
        ("d", 18, None),
        ("w", 20, None),
        ("v", 24, None),
        ("o", 28, '"none"'),
    ],
)
def test_a_definition_that_is_left_out_is_never_true(explainer, rule, line, left):
    """Whatever way a rule is written; an else goes on in its place, and all else is as it was."""
    definitions = [each for each in explainer.definitions if (each.rule[-1], each.line) == (rule, line)]
    document = orjson.dumps({"a": "b", "b": 1, "list": [6, 7], "nothing": 1}).decode()
    whole, lacking = interpreter({"a.rego": TEXT}, "{}"), interpreter(without({"a.rego": TEXT}, definitions), "{}")
    for each in "xyzugdwvo":
        path, lacks = f"data.lockgate.a.{each}", each == rule or (rule, each) == ("f", "g")
        for engine in (whole, lacking):
            engine.set_input_json(document)
        wanted = whole.eval_rule_as_json(path) if not lacks else UNDEFINED if left is None else left
        assert lacking.eval_rule_as_json(path) == wanted
