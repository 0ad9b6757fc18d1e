"""What is known of policies before they are asked, and that it is enough."""

from __future__ import annotations

import copy
import json

import orjson
import pytest

from adapters.rego.embedded import checked_plan, interpreter
from adapters.rego.plan import Plan
from tests.conformance.rego_truth import ROOT, settings, texts
from tests.unit.policy.halden import CATALOG, asking

ENTRIES = ["data.lockgate.admission.result", "data.lockgate.decision.result"]
ALLOW = 'result := {"effect": "allow"}\n'
SMALL = {
    "admission.rego": f"package lockgate.admission\n\n{ALLOW}",
    "decision.rego": f"package lockgate.decision\n\n{ALLOW}",
    "pay.rego": 'package lockgate.intents.pay\n\nimport data.lockgate.lib.money\n\nresult := {"effect": "allow"} if money.small(input)\n',
    "money.rego": "package lockgate.lib.money\n\nsmall(seen) if seen.amount < data.lockgate.config.bound\n",
    "stop.rego": 'package lockgate.intents.stop\n\nresult := {"effect": "deny"} if data.lockgate.intents[_].result\n\n',
}


def test_a_question_has_the_files_that_play_a_part_in_its_answer():
    """Its own and what they name; not those of another intent."""
    plan = checked_plan({name: text for name, text in SMALL.items() if name != "stop.rego"}, {})
    assert {rule.split(".")[-2]: each.files for rule, each in plan.questions.items()} == {
        "admission": ("admission.rego",),
        "decision": ("decision.rego",),
        "pay": ("money.rego", "pay.rego"),
    }
    assert plan.beside(("pay", "other"), "decision") == ["data.lockgate.intents.pay.result"]
    assert plan.beside(("pay",), "admission") == []


def test_adopted_packages_are_asked_where_they_have_something_to_say():
    """At admission, after it, or both."""
    adopted = {f"{name}.rego": f"package lockgate.{name}\n\n{ALLOW}" for name in ("adopted", "adopted_admission")}
    entries = {name: text for name, text in SMALL.items() if name in ("admission.rego", "decision.rego")}
    plan = checked_plan(entries | adopted, {})
    assert plan.beside(("pay",), "admission") == ["data.lockgate.adopted_admission.result"]
    assert plan.beside(("pay",), "decision") == ["data.lockgate.adopted.result"]


def test_a_name_that_is_not_written_out_takes_in_whatever_it_may_mean():
    """A rule that looks through all intents' packages needs all of them."""
    text = 'package lockgate.decision\n\nresult := {"effect": "allow"} if count([1 | data.lockgate.intents[_].result]) == 0\n'
    plan = checked_plan({name: each for name, each in SMALL.items() if name != "stop.rego"} | {"decision.rego": text}, {})
    assert plan.questions["data.lockgate.decision.result"].files == ("decision.rego", "money.rego", "pay.rego")


def test_a_plan_survives_its_way_as_json():
    """What another process made is what this one has."""
    policies = texts(ROOT / "policies")
    plan = checked_plan(policies, {})
    assert Plan.from_json(json.loads(json.dumps(plan.to_json())), policies.keys()) == plan


@pytest.mark.parametrize(
    "broken",
    [
        [],
        {},
        {ENTRIES[0]: [["a.rego"], None]},
        {rule: [["a.rego"], None] for rule in (*ENTRIES, "data.lockgate.lib.x.result")},
        {rule: [["elsewhere.rego"], None] for rule in ENTRIES},
        {rule: [[], None] for rule in ENTRIES},
        {rule: [["a.rego"]] for rule in ENTRIES},
        {rule: [["a.rego"], [[]]] for rule in ENTRIES},
        {rule: [["a.rego"], [[1]]] for rule in ENTRIES},
        {rule: ["a.rego", None] for rule in ENTRIES},
        {rule: [[["a.rego"]], None] for rule in ENTRIES},
    ],
)
def test_what_is_no_plan_is_refused(broken):
    """It may come from a process that read policies which nobody trusts."""
    with pytest.raises(ValueError, match=r"^a "):
        Plan.from_json(broken, {"a.rego"})


def test_an_interpreter_of_a_questions_files_answers_as_one_of_all_files():
    """Over the shipped policies, with intents' packages beside them, and every intent and role of Halden."""
    policies = texts(ROOT / "policies") | {
        f"{intent}.rego": f"package lockgate.intents.{intent}\n\nimport data.lockgate.rules.risk\n\n"
        f'result := {{"effect": "review", "reasons": risk.review.review}} if input.risk.level == "{level}"\n\n'
        'else := {"effect": "allow"}\n'
        for intent, level in zip(CATALOG["intents"], ("low", "medium", "high", "critical") * 10, strict=False)
    }
    data = orjson.dumps(settings(ROOT / "examples" / "halden" / "policies" / "data.yaml")).decode()
    whole, plan = interpreter(policies, data), checked_plan(policies, {})
    own = {rule: interpreter({file: policies[file] for file in each.files}, data) for rule, each in plan.questions.items()}
    assert max(len(each.files) for each in plan.questions.values()) < len(policies) / 2
    for intent in CATALOG["intents"]:
        for role in ("employee", "finance_clerk", "nobody"):
            document = copy.deepcopy(asking(intent, role))
            text = orjson.dumps(document).decode()
            for rule in (*ENTRIES, *plan.beside((intent,), "decision")):
                whole.set_input_json(text)
                own[rule].set_input_json(text)
                assert own[rule].eval_rule_as_json(rule) == whole.eval_rule_as_json(rule)
