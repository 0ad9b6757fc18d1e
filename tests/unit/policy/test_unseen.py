"""What was not found where nobody could look is no reason to let anything pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.policy.evaluating import Policies
from router.policy.folder import PolicyFolder, read_folder
from router.policy.unseen import unseen_faults
from tests.unit.policy.halden import HALDEN, ROOT

ADMISSION = 'package lockgate.admission\n\nresult := {"effect": "allow", "reasons": [{"code": "a.in"}]}\n'
ALLOW = '{"effect": "allow", "reasons": [{"code": "a.b"}]}'
PERSONAL = 'startswith(name, "pii.")'
DENY = '{"effect": "deny", "reasons": [{"code": "a.c"}]}'


def kinds(*rules: str, fixture: str = "") -> list[str]:
    """Kinds that are named by faults of a policy of these rules."""
    tests = {"d_test.rego": f"package lockgate.decision_test\n\n{fixture}\n"} if fixture else {}
    policies = {"a.rego": ADMISSION, "d.rego": "package lockgate.decision\n\n" + "\n\n".join(rules) + "\n"}
    folder = PolicyFolder(Path("policies"), policies, tests, {}, "data.yaml")
    found = unseen_faults(folder, Policies(folder))
    assert {each.file for each in found} <= {"d.rego"}
    return [kind for each in found for kind in ("pii", "secret", "injection") if f"the kind '{kind}'" in each.sentence]


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (f'result := {ALLOW} if not input.signals.findings["secret.password"]', ["secret"]),
        (
            f"default result := {ALLOW}\n\nresult := {DENY} if {{\n\tsome name, _ in input.signals.findings\n\t{PERSONAL}\n}}",
            ["pii"],
        ),
        (f"result := {ALLOW} if input.signals.findings == {{}}", ["injection", "pii", "secret"]),
    ],
)
def test_a_not_that_makes_an_allow_of_a_missing_signal_is_found(rule: str, wanted: list[str]) -> None:
    """Each kind for which what a finding would stop passes while nothing is known of it, and no other."""
    assert kinds(rule) == wanted


@pytest.mark.parametrize(
    "rules",
    [
        (f'result := {ALLOW} if {{\n\tnot input.signals.findings["secret.password"]\n\tinput.signals.unknown == []\n}}',),
        (f'result := {ALLOW} if input.signals.findings["pii.iban"]',),
        (f'result := {ALLOW} if input.route.name == "route"',),
        (
            f'result := {ALLOW} if {{\n\tnot input.signals.findings["secret.password"]\n\tmay\n}}',
            "may if input.signals.unknown == []",
            'may if {\n\tinput.signals.unknown != []\n\tinput.route.name == "route"\n}',
        ),
    ],
    ids=["looks", "wants a finding", "asks for none", "says that it may"],
)
def test_what_asks_for_what_is_unknown_or_for_no_findings_is_in_order(rules: tuple[str, ...]) -> None:
    """Also where a rule says of some requests, by holding then, that they may pass."""
    assert kinds(*rules) == []


def test_inputs_come_from_the_fixtures_where_there_are_any() -> None:
    """A policy that lets nobody else pass is seen through by those of its own tests."""
    only = f'result := {ALLOW} if {{\n\tinput.subject.id == "ada"\n\tnot input.signals.findings["secret.password"]\n}}'
    parts = '"classification": {"intent": "pay", "status": "classified"}, "route": {"name": "pay"}, "subject": {"id": "ada"}'
    assert (kinds(only), kinds(only, fixture=f'ada := {{"entry": "decision", {parts}}}')) == ([], ["secret"])


@pytest.mark.parametrize("data", [ROOT / "policies" / "data.yaml", HALDEN / "policies" / "data.yaml"])
def test_the_shipped_policies_let_nothing_pass_unseen(data: Path) -> None:
    """With their own settings, and with those of the example."""
    folder = read_folder(ROOT / "policies", data)
    assert unseen_faults(folder, Policies(folder)) == ()
