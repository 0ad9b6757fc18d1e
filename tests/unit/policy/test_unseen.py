"""What was not found where nobody could look is no reason to let anything pass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from router.policy.evaluating import Policies
from router.policy.folder import PolicyFolder, read_folder
from router.policy.unseen import unseen_faults
from router.stages.signals import KINDS
from tests.unit.policy.halden import HALDEN, ROOT

ADMISSION = 'package lockgate.admission\n\nresult := {"effect": "allow", "reasons": [{"code": "a.in"}]}\n'
ALLOW = '{"effect": "allow", "reasons": [{"code": "a.b"}]}'
PERSONAL = 'startswith(name, "pii.")'
IBAN = '"pii.iban"'
DENY = '{"effect": "deny", "reasons": [{"code": "a.c"}]}'


def kinds(*rules: str, fixture: str = "") -> list[str]:
    """Kinds that are named by faults of a policy of these rules."""
    tests = {"d_test.rego": f"package lockgate.decision_test\n\n{fixture}\n"} if fixture else {}
    policies = {"a.rego": ADMISSION, "d.rego": "package lockgate.decision\n\n" + "\n\n".join(rules) + "\n"}
    folder = PolicyFolder(Path("policies"), policies, tests, {}, "data.yaml")
    found = unseen_faults(folder, Policies(folder))
    assert {each.file for each in found} <= {"d.rego"}
    return [kind for each in found for kind in ("pii", "secret", "injection", "text") if f"the kind '{kind}'" in each.sentence]


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (f'result := {ALLOW} if not input.signals.findings["secret.password"]', ["secret"]),
        (
            f"default result := {ALLOW}\n\nresult := {DENY} if {{\n\tsome name, _ in input.signals.findings\n\t{PERSONAL}\n}}",
            ["pii"],
        ),
        (f"result := {ALLOW} if input.signals.findings == {{}}", ["injection", "pii", "secret", "text"]),
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


@pytest.mark.parametrize(
    "rules",
    [
        (f"result := {ALLOW} if {{\n\tseen := input.signals\n\tnot seen.findings[{IBAN}]\n}}",),
        (f"result := {ALLOW} if {{\n\twhole := input\n\tnot whole.signals.findings[{IBAN}]\n}}",),
        (f"result := {ALLOW} if clean(input.signals)", f"clean(seen) if not seen.findings[{IBAN}]"),
        (f"result := {ALLOW} if clean(input.signals.findings)", f"clean(found) if not found[{IBAN}]"),
        (f'result := {ALLOW} if object.get(input, ["signals", "findings", {IBAN}], null) == null',),
        (f"result := {ALLOW} if object.get(input.signals.findings, {IBAN}, null) == null",),
        (f"result := {ALLOW} if not many", f"many if input.signals.findings[{IBAN}].count > 5000"),
    ],
    ids=["a name for signals", "a name for all", "a function of signals", "a function of findings", "a path", "a default", "a number"],
)
def test_it_is_found_however_the_finding_is_asked_for(rules: tuple[str, ...]) -> None:
    """By another name, in a function that is handed it, or by a builtin."""
    assert kinds(*rules) == ["pii"]


@pytest.mark.parametrize(
    "stops",
    [
        f"input.signals.findings[{IBAN}].count > 3",
        f"some name in {{{IBAN}}}\n\tinput.signals.findings[name]",
        f"some name, _ in input.signals.findings\n\tname == {IBAN}",
        'some name, _ in input.signals.findings\n\tendswith(name, ".iban")',
        f'input.signals.findings[{IBAN}]\n\tinput.request.path == "/pay"\n\tinput.request.method == "POST"',
        f'input.signals.findings[{IBAN}]\n\tinput.intent.name == "pay"',
        f'input.signals.findings[{IBAN}]\n\tinput.risk.level == "critical"',
        f'input.signals.findings[{IBAN}]\n\t"teller" in input.subject.roles',
    ],
    ids=["often", "of a set", "by name", "by its end", "of a path", "of an intent", "at a risk", "of a role"],
)
def test_what_a_finding_needs_beside_it_to_stop_a_request_is_tried_too(stops: str) -> None:
    """How often it was found, the names that rules are about, and what rules compare the request with."""
    assert kinds(f"default result := {ALLOW}", f"result := {DENY} if {{\n\t{stops}\n}}") == ["pii"]


def test_packages_of_intents_are_asked_for_theirs() -> None:
    """Also where nothing else names the intent, and no test has it."""
    everywhere = f"package lockgate.decision\n\nresult := {ALLOW}\n"
    own = f"package lockgate.intents.pay_out\n\nresult := {ALLOW} if not input.signals.findings[{IBAN}]\n"
    folder = PolicyFolder(Path("policies"), {"a.rego": ADMISSION, "d.rego": everywhere, "p.rego": own}, {}, {}, "data.yaml")
    (fault,) = unseen_faults(folder, Policies(folder))
    assert (fault.file, fault.line) == ("p.rego", 3)


@pytest.mark.parametrize(
    ("lets", "finding"),
    [
        ('{"effect": "reroute", "route": "b", "reasons": [{"code": "a.r"}]}', DENY),
        (ALLOW, '{"effect": "reroute", "route": "b", "reasons": [{"code": "a.r"}]}'),
        (ALLOW, '{"effect": "allow", "reasons": [{"code": "a.m"}], "obligations": [{"name": "mask_body", "params": {}}]}'),
    ],
    ids=["rerouted anyway", "sent elsewhere", "masked"],
)
def test_who_passes_elsewhere_or_unmasked_passes(lets: str, finding: str) -> None:
    """A finding that has a request sent on in another way than it otherwise goes keeps it from going that way."""
    assert kinds(f"default result := {lets}", f"result := {finding} if input.signals.findings[{IBAN}]") == ["pii"]


def test_what_is_cut_off_hides_findings_of_every_kind_at_once() -> None:
    """A rule that is about one kind alone says nothing of that."""
    alone = f'result := {DENY} if input.signals.unknown in [["pii"], ["secret"], ["injection"], ["text"]]'
    assert kinds(f"default result := {ALLOW}", f"result := {DENY} if input.signals.findings[{IBAN}]", alone) == ["pii"]


LOOKED = "input.signals.unknown == []"
CLEAN = f"not input.signals.findings[{IBAN}]"
HAPPENED = "input.signals.unknown != []"
NOTED = f'noted contains {{"code": "a.noted"}} if {HAPPENED}'
TAGGED = f'noted contains {{"name": "tag", "params": {{"tags": ["a.noted"]}}}} if {HAPPENED}'


@pytest.mark.parametrize(
    "rules",
    [
        (f"result := {ALLOW} if {CLEAN}", NOTED),
        (f'result := {{"effect": "allow", "reasons": [reason | some reason in noted]}} if {CLEAN}', NOTED),
        (f'result := {{"effect": "allow", "obligations": [duty | some duty in noted]}} if {CLEAN}', TAGGED),
        (f"result := {ALLOW} if {CLEAN}\n\nelse := {ALLOW} if {{\n\tcount(noted) > 0\n\tfalse\n}}", NOTED),
        (
            f'result := {{"effect": "allow", "reasons": [{{"code": code}}]}} if {CLEAN}',
            f'code := "a.noted" if {HAPPENED}\n\nelse := "a.whole"',
        ),
        (f"result := {ALLOW} if {{\n\t{CLEAN}\n\tseen\n}}", "seen if input.signals.unknown == []", f"seen if {HAPPENED}", "seen if true"),
        (
            f"result := {ALLOW} if {{\n\t{CLEAN}\n\tcount(seen) == 0\n}}",
            "seen := [] if input.signals.unknown == []\n\nelse := [x | some x in []]",
        ),
        *(
            (f"result := {ALLOW} if {{\n\t{CLEAN}\n\tcount(seen) == 0\n}}", f"seen := [] if input.signals.unknown == []\n\n{left}")
            for left in (
                "else := [x | some x in []] if true",
                "else := [x | some x in []] if input.signals",
                'else := ["twice"] if input.signals.unknown == []\n\nelse := [x | some x in []] if count(input.signals.findings) >= 0',
            )
        ),
        (
            f'result := {{"effect": "allow", "reasons": [{{"code": code}}]}} if {CLEAN}',
            f'code := "a.noted" if {HAPPENED}',
            f'code := "a.whole" if {LOOKED}',
        ),
        (
            f'result := {{"effect": "allow", "reasons": [why]}} if {CLEAN}',
            f'why := {{"code": "a.noted"}} if {HAPPENED}',
            f'why := {{"code": "a.whole"}} if {LOOKED}',
        ),
        (
            f'result := {{"effect": "allow", "reasons": [{{"code": code_of(input.signals)}}]}} if {CLEAN}',
            'code_of(seen) := "a.noted" if seen.unknown != []\n\nelse := "a.whole" if seen.unknown == []',
        ),
    ],
    ids=[
        "by itself",
        "as a reason",
        "as a tag",
        "where it decides nothing",
        "as the reason's code",
        "beside what holds anyway",
        "in what is left",
        "in what is left if anything",
        "in what is left of all",
        "in what is left in the end",
        "as one of two codes",
        "as one of two reasons",
        "as what a function makes",
    ],
)
def test_who_only_notes_that_something_is_unknown_lets_nothing(rules: tuple[str, ...]) -> None:
    """Without the rule the request would pass as well, so it is not what lets it."""
    assert kinds(*rules) == ["pii"]


def test_an_else_that_asks_for_what_is_unknown_lets_it() -> None:
    """Whatever comes before it: its own condition is met by nothing else."""
    stops, passes = f"result := {DENY} if input.signals.findings[{IBAN}]", f"else := {ALLOW} if input.signals.unknown == []"
    assert kinds(f'{stops}\n\n{passes}\n\nelse := {ALLOW} if "pii" in input.signals.unknown') == []
    assert kinds(f"{stops}\n\n{passes}\n\nelse := {ALLOW} if input.signals.unknown") == ["pii"]


WHOLE = "lax if input.signals.unknown == []"
BLIND = "blind(seen) if seen.signals.unknown != []"


@pytest.mark.parametrize(
    "rules",
    [
        (WHOLE, "lax if blind(input)", BLIND),
        (WHOLE, "lax if some_route", "lax if some_role", "some_route if blind(input)", "some_role if blind(input)", BLIND),
        (WHOLE, "lax if count(leave) > 0", f'leave contains "a" if {HAPPENED}', f'leave contains "b" if {HAPPENED}'),
        (WHOLE, f"lax if {HAPPENED}", NOTED),
        ('lax if mode in {"whole", "blind"}', f'mode := "whole" if {LOOKED}', f'mode := "blind" if {HAPPENED}'),
        ('lax if mode == "whole"', 'lax if mode == "blind"', f'mode := "whole" if {LOOKED}', f'mode := "blind" if {HAPPENED}'),
        (
            "lax if not strict\n\nstrict if {\n\tblind(input)\n\tnot one\n\tnot two\n}",
            "one if blind(input)",
            "two if blind(input)",
            BLIND,
        ),
    ],
    ids=[
        "by a helper",
        "by either of two",
        "by either of two of a set",
        "and notes it",
        "by one of two words",
        "by a word of its own",
        "by what stops it otherwise",
    ],
)
def test_who_lets_it_pass_may_do_so_by_several_rules(rules: tuple[str, ...]) -> None:
    """Also where each of them is enough, or all begin with one helper that what stops a request asks, too."""
    assert kinds(f"result := {ALLOW} if {{\n\t{CLEAN}\n\tlax\n}}", *rules) == []


def test_what_protects_more_by_its_params_protects() -> None:
    """Another field that is left out where something was found, and not where nobody looked."""
    few, many = (
        f'{{"effect": "allow", "obligations": [{{"name": "redact_fields", "params": {{"fields": [{fields}]}}}}]}}'
        for fields in ('"/a"', '"/a", "/b"')
    )
    assert kinds(f"default result := {few}", f"result := {many} if input.signals.findings[{IBAN}]") == ["pii"]


def test_a_kind_has_the_names_that_its_detectors_give() -> None:
    """No account number is a secret, so who asks whether personal data is unknown has asked for all that may have this end."""
    found = f'result := {DENY} if {{\n\tsome name, _ in input.signals.findings\n\tendswith(name, ".iban")\n}}'
    assert kinds(f"default result := {ALLOW}", found, f'result := {DENY} if "pii" in input.signals.unknown') == []


@pytest.mark.parametrize("signals", ["null", '{"findings": null, "unknown": []}'])
def test_a_fixture_without_signals_is_no_request_of_which_all_is_known(signals: str) -> None:
    """The tests of policies have such; nothing breaks off."""
    only = f"result := {ALLOW} if not input.signals.findings[{IBAN}]"
    assert kinds(only, fixture=f'bare := {{"entry": "decision", "signals": {signals}, "route": {{"name": "pay"}}}}') == []


def test_inputs_come_from_the_fixtures_where_there_are_any() -> None:
    """A policy that lets nobody else pass is seen through by those of its own tests."""
    only = f'result := {ALLOW} if {{\n\tstartswith(input.subject.id, "ad")\n\tnot input.signals.findings["secret.password"]\n}}'
    parts = '"classification": {"intent": "pay", "status": "classified"}, "route": {"name": "pay"}, "subject": {"id": "ada"}'
    assert (kinds(only), kinds(only, fixture=f'ada := {{"entry": "decision", {parts}}}')) == ([], ["secret"])


@pytest.mark.parametrize("data", [ROOT / "policies" / "data.yaml", HALDEN / "policies" / "data.yaml"], ids=["own", "example"])
def test_the_shipped_policies_without_their_own_rule_are_found(data: Path) -> None:
    """What they say of signals begins otherwise where something is unknown, which lets nobody pass."""
    folder = read_folder(ROOT / "policies", data)
    (file,) = [name for name in folder.policies if name.endswith("rules/signals/unknown/unknown.rego")]
    never = folder.policies[file].replace("\tnot inspected(input)\n", "\tfalse\n\tnot inspected(input)\n", 1)
    assert never != folder.policies[file]
    without = replace(folder, policies={**folder.policies, file: never})
    found = [each.sentence for each in unseen_faults(without, Policies(without))]
    assert {kind for each in found for kind in KINDS if f"the kind '{kind}'" in each} >= {"secret", "injection"}


@pytest.mark.parametrize("data", [ROOT / "policies" / "data.yaml", HALDEN / "policies" / "data.yaml"])
def test_the_shipped_policies_let_nothing_pass_unseen(data: Path) -> None:
    """With their own settings, and with those of the example."""
    folder = read_folder(ROOT / "policies", data)
    assert unseen_faults(folder, Policies(folder)) == ()
