"""What the embedded engine refuses to load, with the place and a sentence."""

from __future__ import annotations

import pytest

from adapters.rego.embedded import load
from router.errors import ConfigError

ADMIT = 'package lockgate.admission\n\nresult := {"effect": "allow"}\n'
DECIDE = 'package lockgate.decision\n\nresult := {"effect": "allow"}\n'


def faults(extra: str, **more: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load({"a.rego": ADMIT, "d.rego": f"{DECIDE}\n{extra}\n", **more})
    return caught.value.faults


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("x := if {", "d.rego:5: The policy does not compile: unexpected keyword"),
        ("x if { y == 1 }", "d.rego:5: The policy does not compile: use of undefined variable"),
        ("x if { not y }", "d.rego:5: The policy does not compile"),
        ('x := $"a {input.b}"', "d.rego:5: The policy does not compile"),
        ("x := http.send({})", "'http.send' may not be used: a decision asks nobody"),
        ("x := time.now_ns()", "'time.now_ns' may not be used: its answer could not be replayed"),
        ('x := rand.intn("a", 2)', "'rand.intn' may not be used"),
        ("x := opa.runtime()", "'opa.runtime' may not be used"),
        ('x := io.jwt.decode("a")', "'io.jwt.decode' may not be used: tokens are verified before policy"),
        ('x := crypto.sha256("a")', "'crypto.sha256' may not be used"),
        ('x := graphql.is_valid("", "")', "'graphql.is_valid' may not be used"),
        ("x := rego.metadata.rule()", "'rego.metadata.rule' may not be used"),
        ('x := regex.template_match("a", "b", "c", "d")', "'regex.template_match' may not be used"),
        ('x := net.cidr_intersects("a", "b")', "There is no function 'net.cidr_intersects'"),
        ('x := regex.globs_match("a", "b")', "There is no function 'regex.globs_match'"),
        ("x if print(input)", "'print' may not be used"),
        ("x := nosuch(1)", "There is no function 'nosuch' that a policy may call"),
        ('x := startswith("a")', "takes 2 arguments, not 1"),
        ("f(y) := y\n\nx := f(1, 2, 3)", "takes 1 arguments, not 3"),
        ('x := sprintf("%-5s", ["a"])', "format of 'sprintf'"),
        ("x := sprintf(input.format, [])", "format of 'sprintf'"),
        ("x := regex.match(`^\\d+$`, input.a)", "pattern of 'regex.match'"),
        ("x := regex.match(input.pattern, input.a)", "pattern of 'regex.match'"),
        ("x if { f(1) with f as 2 }\n\nf(y) := y", "replaces only input and data.lockgate.config"),
        ("x if { y with data.lockgate.decision.y as 2 }\n\ny := 1", "replaces only input and data.lockgate.config"),
        ("x := data.elsewhere.y", "There is nothing at 'data.elsewhere.y'"),
        ("x := data.lockgate.admission.reslut", "There is nothing at 'data.lockgate.admission.reslut'"),
        ("f(y) if f(y)", "The rule 'lockgate.decision.f' depends on itself"),
        ("f(y) if g(y)\n\ng(y) if f(y)", "The rule 'lockgate.decision.g' depends on itself"),
        ("p if q\n\nq if p", "depends on itself"),
        ("x := data.lockgate[input.y]", "depends on itself"),
        ("x := y if { data = y }", "depends on itself"),
        ("p if { q = 1 }\n\nq := 1 if { p = true }", "depends on itself"),
        ("x := 1\n\nx contains 2", "is of another kind than the one on line 5"),
        ('x if not startswith(input.a, "x")', "OPA skips a 'not' over 'input.a'"),
        ('x if not input.level in {"low"}', "OPA skips a 'not' over 'input.level'"),
        ("x if not input.score < 3", "OPA skips a 'not' over 'input.score'"),
        ('x if not "a" in data.lockgate.config.b', "OPA skips a 'not' over 'data.lockgate.config.b'"),
        ("x if not input.a[input.b]", "OPA skips a 'not' over 'input.b'"),
        ("y := input.a\n\nx if not is_null(y)", "OPA skips a 'not' over 'y'"),
    ],
)
def test_a_fault_is_named_with_its_place(line, part):
    """One sentence says what is wrong and where."""
    found = faults(line)
    assert all(fault.startswith("d.rego:") for fault in found)
    assert any(part in fault for fault in found), found


@pytest.mark.parametrize(
    "line",
    [
        "x if not input.a",
        "x if not input.a == 1",
        "x if not input.a.b == input.c",
        'x if { some y in input.a; not startswith(y, "x") }',
        "f(seen) if seen.a\n\nx if not f(input)",
        "x if { y := input.a; not y in {1, 2} }",
        "x if { input.a with input.a as 1 }",
        "x := data.lockgate.config.anything.at.all",
        "x := data.lockgate.admission.result.effect",
        "x if { walk(input, [p, v]); v == p }",
        "x := regex.match(`(?i)^a[0-9]{2}\\.b$`, input.a)",
        'x := sprintf("%s has %d of %v%%", ["a", 1, {}])',
        "reason contains 1 if f(1)\n\nf(reason) if reason == 1",
    ],
)
def test_ordinary_rego_is_loaded(line):
    """The checks do not stand in the way of what is answered rightly."""
    assert load({"a.rego": ADMIT, "d.rego": f"{DECIDE}\n{line}\n"}).digest


def test_every_file_is_looked_at():
    """One broken file does not hide the next."""
    found = faults("x := if", **{"e.rego": "package lockgate.e\n\ny := if\n"})
    assert {fault.split(":")[0] for fault in found} == {"d.rego", "e.rego"}


@pytest.mark.parametrize("package", ["other", "lockgate", "lockgate.config", "lockgate.config.access"])
def test_packages_have_their_place(package):
    """Policies lie below lockgate, and not where data is."""
    found = faults("", **{"o.rego": f"package {package}\n\nx := 1\n"})
    assert any(fault.startswith("o.rego:1:") for fault in found)


def test_an_import_must_name_something():
    """A package that is not there would be undefined without a word."""
    found = faults("", **{"o.rego": "package lockgate.o\n\nimport data.lockgate.nowhere\n\nx := nowhere.y\n"})
    assert found[0] == "o.rego:3: The import 'data.lockgate.nowhere' names nothing that is here."


@pytest.mark.parametrize("imported", ["data.lockgate.config.a as y", "input.y"])
def test_an_import_and_a_rule_may_not_share_a_name(imported):
    """OPA reads the import where the embedded engine reads the rule."""
    found = faults("", **{"o.rego": f"package lockgate.o\n\nimport {imported}\n\ny := 1\n\nx if y == 1\n"})
    assert found[0] == "o.rego:3: A rule has the name of the import 'y'; rename one, for OPA reads the import."


@pytest.mark.parametrize("rule", ["result contains 1", "result(x) := x", "other := 1", "result[x] := 1 if some x in input.a"])
def test_an_intents_package_must_have_one_result(rule):
    """Otherwise the intent could never pass."""
    found = faults("", **{"o.rego": f"package lockgate.intents.pay\n\n{rule}\n"})
    assert found == ("o.rego:1: There is no rule 'lockgate.intents.pay.result', which decisions are read from.",)


@pytest.mark.parametrize("data", [{"x": 1}, {"lockgate": {"decision": {"result": {"effect": "allow"}}}}, {"lockgate": 1}])
def test_data_cannot_stand_in_for_rules(data):
    """Data lies below lockgate.config and nowhere else."""
    with pytest.raises(ConfigError, match=r"below 'lockgate\.config'"):
        load({"a.rego": ADMIT, "d.rego": DECIDE}, data)


def test_the_digest_covers_policies_their_places_and_data():
    """Whatever can change a decision changes the digest."""
    base = {"a.rego": ADMIT, "d.rego": DECIDE}
    digests = {
        load(base).digest,
        load({**base, "d.rego": DECIDE + "\n"}).digest,
        load({"a.rego": ADMIT, "e.rego": DECIDE}).digest,
        load(base, {"lockgate": {"config": {"a": 1}}}).digest,
    }
    assert len(digests) == 4
    assert load(dict(reversed(base.items()))).digest == load(base).digest
