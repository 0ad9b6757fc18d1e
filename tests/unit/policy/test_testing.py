"""Tests of Rego in the embedded engine."""

from __future__ import annotations

import pytest

from adapters.rego.testing import FAILED, PASSED, SKIPPED, TestOutcome, TestRun, run_tests
from router.errors import ConfigError

RULE = """package lockgate.pay

deny contains "late" if {
	input.hour > 20
	not data.lockgate.config.night == true
}

deny contains "big" if input.amount > 10
"""
HEAD = "package lockgate.pay_test\n\nimport data.lockgate.pay\n\n"
DATA = {"lockgate": {"config": {"night": False}}}


def ran(tests: str, pattern: str = "", **policies: str) -> TestRun:
    return run_tests({"pay.rego": RULE, **policies}, {"pay_test.rego": HEAD + tests}, DATA, pattern)


def one(tests: str) -> TestOutcome:
    (outcome,) = ran(tests).outcomes
    return outcome


@pytest.mark.parametrize(
    "body",
    [
        'pay.deny == {"late"} with input as {"hour": 21}',
        'pay.deny == set() with input as {"hour": 21} with data.lockgate.config as {"night": true}',
        "pay.deny == set() with input.hour as 21 with data.lockgate.config.night as true",
        'print("seen"); true',
    ],
)
def test_what_is_true_passes(body):
    """With the data beside the policies, and with other input and data in their place."""
    assert one(f"test_it if {{ {body} }}\n").outcome == PASSED


def test_a_failure_names_the_line_that_was_not_true():
    """Which is the last that was come to."""
    found = one('test_it if {\n\tprint("hour", 9)\n\tx := pay.deny with input as {"hour": 9}\n\tcount(x) == 1\n\ttrue\n}\n')
    assert (found.outcome, found.file, found.line) == (FAILED, "pay_test.rego", 8)
    assert found.reason == "Not true: count(x) == 1"
    assert found.printed == ("pay_test.rego:6: hour 9",)


def test_an_error_is_a_failure_with_its_place():
    """And the tests after it run as if it had not been."""
    failed, passed = ran('test_a if {\n\tx := "a"\n\tcount(x) / 0 == 1\n}\n\ntest_b if count(pay.deny) == 0 with input as {}\n').outcomes
    assert "pay_test.rego:7: divide by zero" in failed.reason
    assert passed.outcome == PASSED


def test_what_is_not_true_is_no_pass():
    """False, and a value of another kind."""
    assert [each.reason for each in ran("test_a := false\n\ntest_b := 3\n").outcomes] == ["It is false, not true.", "It is 3, not true."]


@pytest.mark.parametrize(
    ("tests", "why"),
    [
        ("test_it if pay.deny with pay.deny as 1\n", "pay_test.rego:5: The embedded engine replaces only input and data.lockgate.config"),
        ("test_it if { f(1) with f as 2 }\n\nf(x) := x\n", "The embedded engine replaces only input"),
        ("test_it if mocked\n\nmocked if { count([1]) with count as 2 }\n", "pay_test.rego:7: The embedded engine replaces only input"),
        ("test_it if time.now_ns() > 0\n", "The builtin 'time.now_ns' may not be used"),
        ('test_it if not startswith(input.a, "x")\n', "OPA skips a 'not' over 'input.a'"),
        ("test_it if f(1)\n\nf(x) if f(x)\n", "depends on itself"),
        ("test_it[x] if some x in [1]\n", "Tests with cases by key are not run"),
    ],
)
def test_a_test_that_cannot_run_fails_and_says_why(tests, why):
    """It would pass or fail by what the engine gets wrong; and one that calls itself would end the process."""
    found = one(tests)
    assert found.outcome == FAILED
    assert found.reason.startswith("The test cannot run in this engine. ")
    assert why in found.reason


def test_a_test_to_be_done_is_skipped():
    """As in OPA; it is no pass."""
    run = ran("todo_test_it if false\n")
    assert [each.outcome for each in run.outcomes] == [SKIPPED]
    assert run.failed


def test_only_tests_of_a_name_run():
    """Any part of it, with the package."""
    assert [each.name for each in ran("test_a := true\n\ntest_b := true\n", "test_b").outcomes] == ["lockgate.pay_test.test_b"]


def test_coverage_is_by_line():
    """The head of a rule counts where the rule held; rules of a file that nothing asks are missed as a whole."""
    run = ran('test_it if pay.deny == {"late"} with input as {"hour": 21}\n', **{"o.rego": "package lockgate.o\n\nx if {\n\tinput.y\n}\n"})
    assert [(each.file, each.lines, each.missed) for each in run.coverage] == [("o.rego", (), (4,)), ("pay.rego", (3, 4, 5, 8), ())]
    assert run.share == 0.8
    untouched = ran('test_it if pay.deny == set() with input as {"hour": 2}\n').coverage[0]
    assert (untouched.lines, untouched.missed) == ((4, 8), (3, 5))


@pytest.mark.parametrize("tests", ["test_it if {\n", "test_it if x == 1\n"])
def test_tests_that_do_not_compile_are_no_tests(tests):
    """Their file and line are said."""
    with pytest.raises(ConfigError, match=r"^pay_test\.rego:[56]: The policy does not compile"):
        ran(tests)


def test_policies_that_cannot_be_loaded_are_not_tested():
    """They could end the process."""
    with pytest.raises(ConfigError, match=r"depends on itself"):
        ran("test_it := true\n", **{"loop.rego": "package lockgate.l\n\nf(x) if f(x)\n"})
