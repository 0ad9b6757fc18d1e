"""`lockgate policy test` says of every test what OPA says, and of some that it cannot run them."""

from __future__ import annotations

import pytest
from opa_bindings import OpaUndefinedError

from adapters.rego.testing import FAILED, PASSED, run_tests
from tests.conformance.rego_truth import opa, settings, texts

OURS = """package lockgate.mine_test

import data.lockgate.lib.outcome
import data.lockgate.lib.violation

test_true if outcome.skipped({"classification": {"status": "skipped"}, "intent": null})

test_false if outcome.skipped({"classification": {"status": "skipped"}, "intent": 1})

test_undefined if input.nothing.there

test_data_beside_the_policies if data.lockgate.config.review.privileged == ["manager"]

test_data_replaced_in_part if {
	data.lockgate.config.review.privileged == ["clerk"] with data.lockgate.config.review.privileged as ["clerk"]
	data.lockgate.config.access.anonymous == false with data.lockgate.config.review as {}
}

test_input_replaced_in_part if {
	x := [input.a, input.b] with input.a as 1 with input.b as 2
	x == [1, 2]
}

test_nested if outer with input as {"a": 1}

outer if inner with input as {"a": 2}

inner if input.a == 2

test_every if {
	every x in [1, 2] {
		x > 0
	}
}

test_some_of_none if {
	some x in []
	x == 1
}

test_else := false if {
	false
} else := true
"""


@pytest.fixture(scope="module")
def run():
    return run_tests(POLICIES, TESTS, settings())


POLICIES = texts()
TESTS = {**{path: text for path, text in texts(tests=True).items() if path not in POLICIES}, "mine_test.rego": OURS}


def test_every_shipped_test_passes(run):
    """In the engine that decides."""
    assert [each.name for each in run.outcomes if each.outcome != PASSED and "mine_test" not in each.name] == []
    assert len(run.outcomes) > 90


def test_opa_says_the_same_of_every_test(run):
    """Of those that fail, too."""
    said = {}
    with opa({**POLICIES, **TESTS}, settings()) as truth:
        for each in run.outcomes:
            try:
                said[each.name] = PASSED if truth.eval_document(each.name, {}) is True else FAILED
            except OpaUndefinedError:
                said[each.name] = FAILED
    assert {each.name: each.outcome for each in run.outcomes} == said
    assert set(said.values()) == {PASSED, FAILED}


def test_coverage_misses_what_opa_misses():
    """By line, of tests that leave something out. Of lines that OPA says nothing about, such as `some … in` that was not come to, nothing
    is compared."""
    only = {path: text for path, text in TESTS.items() if path.endswith(("fixtures_test.rego", "decision_test.rego"))}
    missed = {each.file: set(each.missed) for each in run_tests(POLICIES, only, settings()).coverage}
    expected, told = missed_by_opa({**POLICIES, **only}, [each.name for each in run_tests(POLICIES, only, settings()).outcomes])
    whole = {file for file, lines in expected.items() if lines}
    assert any(whole)
    assert {file: lines for file, lines in missed.items() if file in expected and (lines & told[file]) - expected[file]} == {}


def missed_by_opa(files, names) -> tuple[dict[str, set[int]], dict[str, set[int]]]:
    """By file, the lines that no test came to, and all that OPA speaks of."""
    covered: dict[str, set[int]] = {}
    missed: dict[str, set[int]] = {}
    with opa(files, settings()) as truth:
        for name in names:
            truth.eval_document(name, {}, coverage=True)
            for file, found in truth.last_coverage["files"].items():
                for kind, lines in (("covered", covered), ("not_covered", missed)):
                    spans = ((each["start"]["row"], each["end"]["row"]) for each in found.get(kind, []))
                    lines.setdefault(file, set()).update(line for first, last in spans for line in range(first, last + 1))
    told = {file: lines | covered.get(file, set()) for file, lines in missed.items()}
    return {file: lines - covered.get(file, set()) for file, lines in missed.items()}, told
