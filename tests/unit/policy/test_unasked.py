"""Rules that nobody asks are told of."""

from __future__ import annotations

import pytest

from router.policy.evaluating import Policies
from router.policy.folder import PolicyFolder, read_folder
from router.policy.unasked import unasked
from tests.unit.policy.halden import ROOT

SHIPPED = read_folder(ROOT / "policies" / "lockgate", ROOT / "policies" / "data.yaml", "lockgate")
OWN = "lockgate/rules/own/own.rego"
DENY = 'deny contains {"code": "own", "message": "no"} if input.subject.id == "ada"\n'


def told(rules: str, asking: str = "") -> list[str]:
    """Of a package `lockgate.rules.own` with these rules; `asking` is a module beside it."""
    modules = {**SHIPPED.policies, OWN: f"package lockgate.rules.own\n\n{rules}"}
    if asking:
        modules["lockgate/asking.rego"] = asking
    folder = PolicyFolder(SHIPPED.path, modules, {}, SHIPPED.data, SHIPPED.data_file)
    return [str(each) for each in unasked(Policies(folder).modules)]


def test_of_the_shipped_policies_all_are_asked() -> None:
    """By the entry points, or by rules that they ask."""
    assert list(unasked(Policies(SHIPPED).modules)) == []


def test_a_rule_that_no_entry_point_names_is_told_of() -> None:
    """By file and line, with what to do."""
    assert told(DENY) == [
        f"{OWN}:3: Nothing asks 'data.lockgate.rules.own.deny', so it decides nothing; "
        "name it in decision.rego, or where else it is to count."
    ]


def test_one_of_two_kinds_of_rules_may_be_asked_for_alone() -> None:
    """Who names the denials of a package has not named what it would hold for review."""
    review = 'review contains {"code": "own", "message": "look"} if input.subject.id == "ada"\n'
    (only,) = told(DENY + review, "package lockgate.intents.pay\n\nresult := data.lockgate.rules.own.deny\n")
    assert "'data.lockgate.rules.own.review'" in only


@pytest.mark.parametrize(
    "asking",
    [
        "package lockgate.intents.pay\n\nresult := data.lockgate.rules.own.deny\n",
        "package lockgate.intents.pay\n\nimport data.lockgate.rules.own\n\nresult := own.deny\n",
        "package lockgate.intents.pay\n\nimport data.lockgate.rules.own as mine\n\nresult := [found | some found in mine.deny]\n",
        "package lockgate.intents.pay\n\nresult := [found | some found in data.lockgate.rules[_].deny]\n",
    ],
    ids=["by its path", "by an import", "by another name", "among all"],
)
def test_a_rule_that_is_named_in_any_way_is_not_told_of(asking: str) -> None:
    """A warning that is wrong would be the last one that is read."""
    assert told(DENY, asking) == []


def test_what_its_own_package_alone_asks_is_a_helper() -> None:
    """A rule that names itself alone is asked by nobody; functions are their callers'."""
    rules = f'{DENY.strip()}\n\nmine if input.subject.id == data.lockgate.config.own\n\ndeny contains "x" if mine\n\nf(x) := x\n'
    assert [each.split("'")[1] for each in told(rules)] == ["data.lockgate.rules.own.deny"]
