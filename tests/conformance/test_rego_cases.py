"""Conformance cases of our own: the embedded engine on them, and OPA's own engine on what they want."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from opa_bindings import OpaEngine, OpaError

from adapters.rego.cases import answer
from router.cli.main import run
from router.policy import conformance
from router.policy.conformance import FAIL, PASS, REFUSED, STRICTER, Case, find_cases, judged, run_cases

CASES = Path(__file__).parent / "rego_cases"
FOUND = find_cases(CASES)
LIMITS = {
    "with/a function in another's place": REFUSED,
    "builtins/lower is not on the list": REFUSED,
    "builtins/a glob that is not written out": REFUSED,
    "rules/a walk that is assigned": REFUSED,
    "rules/a variable in a negation that has its value only after it": REFUSED,
    "builtins/whether a number is JSON": REFUSED,
    "errors/a division by zero where errors are no answer": STRICTER,
}


def from_opa(case: Case) -> dict:
    try:
        with OpaEngine() as engine:
            for number, text in enumerate(case.content.get("modules") or ()):
                engine.add_policy(f"{number}.rego", text)
            engine.add_data(case.content.get("data") or {})
            given = json.loads(case.content["input_term"]) if "input_term" in case.content else case.content.get("input", {})
            return {"result": engine.eval_query(case.content["query"], given)}
    except OpaError as error:
        return {"error": str(error)}


@pytest.mark.parametrize("case", FOUND, ids=lambda case: case.note)
def test_opa_gives_what_a_case_wants(case):
    """Its library counts errors of builtins, so that it is as strict as the embedded engine."""
    assert judged(case, from_opa(case)).outcome in (PASS, LIMITS.get(case.note))


def test_the_embedded_engine_passes_but_for_its_limits():
    """Each limit is named here, and none is a wrong answer."""
    results = list(run_cases(FOUND, "embedded"))
    assert {each.case.note: each.outcome for each in results if each.outcome != PASS} == LIMITS


@pytest.mark.parametrize(
    ("wanted", "said", "outcome"),
    [
        ({"want_result": [{"x": 1}]}, {"result": [{"x": 1.0}]}, PASS),
        ({"want_result": [{"x": 1}]}, {"result": [{"x": True}]}, FAIL),
        ({"want_result": [{"x": 1}, {"x": 2}]}, {"result": [{"x": 2}, {"x": 1}]}, PASS),
        ({"want_result": [{"x": [1, 2]}]}, {"result": [{"x": [2, 1]}]}, FAIL),
        ({"want_result": [{"x": [1, 2]}], "sort_bindings": True}, {"result": [{"x": [2, 1]}]}, PASS),
        ({"want_result": []}, {"result": [{}]}, FAIL),
        ({"want_defined": True}, {"result": [{}]}, PASS),
        ({"want_defined": False}, {"result": [{}]}, FAIL),
        ({"want_result": [{"x": 1}]}, {"error": "e"}, FAIL),
        ({"want_result": []}, {"error": "e"}, STRICTER),
        ({"want_error_code": "eval_conflict_error"}, {"error": "e"}, PASS),
        ({"want_error": "e"}, {"result": []}, FAIL),
        ({"want_error_code": "rego_type_error"}, {"refused": "r"}, PASS),
        ({"want_error_code": "eval_conflict_error"}, {"refused": "r"}, REFUSED),
        ({"want_result": []}, {"broke": "b"}, FAIL),
    ],
)
def test_what_counts_as_what(wanted, said, outcome):
    """A refusal and an error deny; an answer that OPA does not give is a defect."""
    assert judged(Case("f.yaml", "c", "n", wanted), said).outcome == outcome


@pytest.mark.parametrize(
    ("query", "why"),
    [("die", "The engine ended the process."), ("sleep", "The engine gave no answer within 5 seconds.")],
)
def test_a_case_that_breaks_the_engine_is_a_failure_and_the_next_one_runs(query, why, monkeypatch):
    """As one does that calls itself until the stack is gone, or never comes to an end."""
    monkeypatch.setitem(conformance.ENGINES, "deadly", "tests.conformance.test_rego_cases:deadly")
    monkeypatch.setattr(conformance, "DEADLINE_S", 5.0)
    cases = [Case("f", "c", "a", {"query": query}), Case("f", "c", "b", {"query": "true", "want_result": [{}]})]
    broke, lived = run_cases(cases, "deadly")
    assert (broke.outcome, broke.why) == (FAIL, why)
    assert lived.outcome == PASS


def deadly(case):
    """An engine that cases can break."""
    if case["query"] == "die":
        os._exit(1)
    if case["query"] == "sleep":
        time.sleep(60)
    return answer(case)


def test_the_command_counts_and_writes_every_case(tmp_path, capsys):
    """By category, and for machines."""
    out = tmp_path / "out.json"
    assert run(["policy", "conformance", str(CASES), "--engine", "embedded", "--json", str(out)]) == 0
    assert "with" in capsys.readouterr().out
    told = json.loads(out.read_text())
    assert (told["fail"], told["refused"], told["stricter"]) == (0, 6, 1)
    assert told["categories"]["rules"] == {"pass": 11, "fail": 0, "refused": 2, "stricter": 0}
    assert len(told["cases"]) == len(FOUND)


def test_a_failure_fails_unless_it_is_known(tmp_path, capsys):
    """And one that is known must go on failing."""
    (tmp_path / "a.yaml").write_text('cases:\n- {note: "one", query: "1 = x", want_result: [{x: 2}]}\n')
    ratchet = tmp_path / "known"
    assert run(["policy", "conformance", str(tmp_path)]) == 1
    assert "a.yaml: one: It answers" in capsys.readouterr().out
    ratchet.write_text("# known\none\n")
    assert run(["policy", "conformance", str(tmp_path), "--ratchet", str(ratchet)]) == 0
    ratchet.write_text("one\ntwo\n")
    assert run(["policy", "conformance", str(tmp_path), "--ratchet", str(ratchet)]) == 1
    assert "two: It fails no more, and must be taken out of the list." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "nowhere:1: The folder does not exist."),
        ([str(CASES), "--engine", "embeded"], "There is no engine 'embeded' that takes cases. Did you mean 'embedded'?"),
        ([str(CASES), "--ratchet", "nowhere"], "nowhere:1: The file cannot be read."),
        ([str(CASES / "nothing")], "nothing:1: The folder does not exist."),
    ],
)
def test_a_mistake_gets_one_sentence(arguments, sentence, capsys):
    """And the exit status 2."""
    assert run(["policy", "conformance", *arguments]) == 2
    assert sentence in capsys.readouterr().err
