"""The tests that stand beside the rules, run by OPA's own engine and by the embedded one."""

from __future__ import annotations

import re

import pytest
import regorus

from tests.conformance.rego_truth import opa, texts

PACKAGE = re.compile(r"^package (\S+)", re.MULTILINE)
TEST = re.compile(r"^(test_\w+) if", re.MULTILINE)


def rego_tests() -> list[str]:
    found = [(text, PACKAGE.search(text)) for path, text in texts(tests=True).items() if path.endswith("_test.rego")]
    return [f"{package[1]}.{name}" for text, package in found if package is not None for name in TEST.findall(text)]


@pytest.fixture(scope="module")
def truth():
    with opa(texts(tests=True)) as engine:
        yield engine


@pytest.fixture(scope="module")
def embedded():
    engine = regorus.Engine()
    for path, text in texts(tests=True).items():
        engine.add_policy(path, text)
    return engine


@pytest.mark.parametrize("test", rego_tests())
def test_a_rules_test_passes_in_opa(truth, test):
    """OPA, whose answer is the truth, agrees with what the test says."""
    assert truth.eval_document(test, {}) is True


@pytest.mark.parametrize("test", rego_tests())
def test_a_rules_test_passes_in_the_embedded_engine(embedded, test):
    """The engine that decides in production agrees too."""
    assert embedded.eval_rule(f"data.{test}") is True


def test_every_rule_has_a_test_beside_it():
    """A rule's folder that has no test is noticed."""
    rules = {path for path in texts() if "/rules/" in path}
    assert rules
    assert {path.replace(".rego", "_test.rego") for path in rules} <= texts(tests=True).keys()
