from __future__ import annotations

from pathlib import Path

from router.control.console.policy import described
from router.control.console.rules import places

RULES = {
    "a.rego": """package a

# "risk.high" in a comment is no rule.
deny contains reason("risk.high", "no") if {
	input.risk.level == "high"
}

review contains {"code": "risk.high"} if input.risk.level == "high"

codes := {
	"x",
	"risk.list",
}
""",
    "b.rego": 'package b\n\nallow contains reason("risk.high", "yes") if {\n\tinput.ok\n\tinput.fine\n}\n',
}


def test_a_rule_is_found_by_the_reason_that_it_writes_out() -> None:
    """From its head to its closing bracket, with the line that has the code."""
    (found,) = places(RULES, "risk.high", "deny")
    assert (found.file, found.line, found.hit, len(found.text)) == ("a.rego", 4, 4, 3)
    (found,) = places(RULES, "risk.high", "review")
    assert found.text == ('review contains {"code": "risk.high"} if input.risk.level == "high"',)
    (found,) = places(RULES, "risk.list", "deny")
    assert (found.line, found.hit, found.text[-1]) == (10, 12, "}")


def test_where_no_rule_leads_to_the_effect_every_place_is_told() -> None:
    """A reroute's reason may stand in a helper."""
    assert [(each.file, each.line) for each in places(RULES, "risk.high", "reroute")] == [("a.rego", 4), ("a.rego", 8), ("b.rego", 3)]


def test_what_is_not_written_out_is_not_found() -> None:
    """And so nothing is claimed of it."""
    assert places(RULES, "risk.low", "deny") == []


def test_every_shipped_rule_with_a_code_of_its_own_is_found() -> None:
    """The policies that come with Lockgate write their codes out."""
    root = Path(__file__).parents[4] / "policies" / "lockgate"
    texts = {str(path.relative_to(root)): path.read_text() for path in root.rglob("*.rego") if not path.name.endswith("_test.rego")}
    for code, effect in (("rbac.no_grant", "deny"), ("risk.high", "review"), ("rbac.granted", "allow"), ("signals.secret", "deny")):
        assert places(texts, code, effect), code


def test_a_description_of_several_lines_is_one_sentence_after_the_other() -> None:
    """As YAML has it, after `|`; of a file that says nothing there is nothing."""
    said = "# title: Four eyes\n# description: |\n#   Two people.\n#   Never one.\n# scope: package\n"
    text = f"# METADATA\n{said}package a.b\n\n# description: x\n"
    told = described("a/b.rego", text)
    assert (told["title"], told["description"], told["package"]) == ("Four eyes", "Two people. Never one.", "a.b")
    assert described("c.rego", "# description: One line.\npackage c\n")["description"] == "One line."
    assert described("d.rego", "package d\n")["description"] == ""
