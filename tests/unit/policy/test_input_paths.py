"""Paths of the input that are never there."""

from __future__ import annotations

import pytest

from adapters.rego.embedded import compile_all
from adapters.rego.input_paths import input_faults, too_early
from router.policy.folder import input_schema
from tests.unit.policy.halden import ROOT, rego

ADMIT = 'package lockgate.admission\n\nimport data.lockgate.lib\n\nresult := {"effect": "allow"} if lib.calm(input)\n'
LIB = "package lockgate.lib\n\ncalm(seen) if seen.subject.id\n\n"


def found(*lines: str, rule=input_faults) -> list[str]:
    modules, _ = compile_all({"a.rego": ADMIT, "lib.rego": LIB + "\n".join(lines) + "\n"}, {})
    return [str(each) for each in rule(modules, input_schema())]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("x if input.subjct.id", "The input never has 'input.subjct'. Did you mean 'subject'?"),
        ("x if input.subject.rols", "The input never has 'input.subject.rols'. Did you mean 'roles'?"),
        ('x if input["risk"]["lvl"]', "The input never has 'input.risk.lvl'. Did you mean 'level'?"),
        ("x if input.risk.level.high", "The input never has 'input.risk.level.high'."),
        ("x if input.subject.roles.clerk", "The input never has 'input.subject.roles.clerk'."),
        (
            "x if input.signals.findings.injection.scor",
            "The input never has 'input.signals.findings.injection.scor'. Did you mean 'score'?",
        ),
        ('x if input.request.headers["X-Team"]', "The input never has the header 'X-Team': names are in lower case."),
        ('x if input.risk.level == "hihg"', "'input.risk.level' is never 'hihg'. Did you mean 'high'?"),
        (
            'x if "clasified" != input.classification.status',
            "'input.classification.status' is never 'clasified'. Did you mean 'classified'?",
        ),
        (
            'x if input.intent.risk in {"low", "middle"}',
            "'input.intent.risk' is never 'middle'. Known here: critical, high, low, medium.",
        ),
        ("f(seen) if seen.intnt\n\nx if f(input)", "The input never has 'input.intnt'. Did you mean 'intent'?"),
    ],
)
def test_a_path_that_is_never_there_is_a_fault(line, sentence):
    """It would be undefined for ever, and a rule that needs it never true."""
    (fault,) = found(line)
    assert fault.startswith("lib.rego:5: ")
    assert fault.removeprefix("lib.rego:5: ") == sentence


@pytest.mark.parametrize(
    "line",
    [
        "x if input.subject.claims.anything.at.all",
        'x if input.request.headers["x-team"] == "a"',
        "x if input.signals.findings[_].score > 0",
        "x if input.route.destination",
        "x if input.intent.tags[0]",
        'x if input.risk.level in {"low", "high"}',
        'x if input.request.body.problem == "whatever"',
        'x if { some role in input.subject.roles; role == "a" }',
        "x if input[input.entry]",
        "f(seen) if seen.nothing\n\nx if f({})",
    ],
)
def test_what_may_be_there_is_not(line):
    """Open objects, members of lists, and what is given to functions otherwise."""
    assert found(line) == []


def test_the_shipped_policies_read_what_there_is():
    """In every file; Lockgate's own policies are told something else."""
    requests = {name: text for name, text in rego(ROOT / "policies").items() if not name.startswith(("control/", "learning/"))}
    modules, _ = compile_all(requests, {})
    assert input_faults(modules, input_schema()) == []
    assert too_early(modules, input_schema()) == []


def test_what_admission_cannot_know_is_noticed():
    """Only in what admission really asks."""
    assert found("also(seen) if seen.risk.level", "decided if also(input)", rule=too_early) == []
    (early,) = found('calm(seen) if seen.risk.level == "low"', rule=too_early)
    assert early == "lib.rego:5: Admission comes before 'input.risk.level' is known, which is undefined there."
