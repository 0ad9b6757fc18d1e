"""The modules that are made where packages of the library are adopted, and what tests them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from router.bundle.content import TESTS

FOLDER = "library"
JOINED = f"{FOLDER}/adopted.rego"
ADMITTING = f"{FOLDER}/adopted_admission.rego"
AT_ADMISSION = "deny_at_admission"


def made_modules(says: Mapping[str, Collection[str]], lifting: list[str]) -> dict[str, str]:
    """The modules that join, one for each entry point at which some package has something to say."""
    admitting = [name for name, kinds in says.items() if AT_ADMISSION in kinds]
    made = {ADMITTING: ADMIT.format(", ".join(admitting), _each(admitting, AT_ADMISSION))} if admitting else {}
    deciding = {name: kinds for name, kinds in says.items() if not admitting or set(kinds) - {AT_ADMISSION}}
    return made | ({JOINED: _joined(deciding, lifting)} if deciding else {})


def _joined(says: Mapping[str, Collection[str]], lifting: list[str]) -> str:
    """Only what some package says is asked for: an empty list costs the embedded engine as much as a rule."""
    lists = {"denials": "deny", "doubts": "review", "choices": "reroute", "duties": "obligations", "remarks": "grants"}
    saying = {listed: [name for name, kinds in says.items() if kind in kinds] for listed, kind in lists.items()}
    there = {listed for listed, names in saying.items() if names}
    lifted = "\tnot lifted(found)\n" if lifting else ""
    collected = {name: (name if name in there else "[]") for name in lists}
    doubted = "array.concat(doubts, others)" if "remarks" in there else "doubts"
    rules = [
        _result("deny", "denials", '"reasons": denials') if "denials" in there else "",
        _result("review", "doubts", f'"reasons": {doubted}, "obligations": {collected["duties"]}') if "doubts" in there else "",
        _result("reroute", "choices", CHOSEN.format(collected["duties"])) if "choices" in there else "",
        f'{{"effect": "allow", "reasons": {collected["remarks"]}, "obligations": {collected["duties"]}}}\n',
        *(
            COLLECT.format(name, _each(saying[name], lists[name]), lifted if name in ("denials", "doubts") else "")
            for name in lists
            if name in there
        ),
        OTHERS if {"doubts", "remarks"} <= there else "",
        "\nlifted(found) if found.code in data.lockgate.exceptions.lifted\n" if lifting else "",
    ]
    return JOIN.format(", ".join(says)) + "".join(rules)


def made_tests(made: Iterable[str]) -> dict[str, str]:
    """Of those of the modules that answer a question."""
    joining = {path: Path(path).stem for path in made if path in (JOINED, ADMITTING)}
    return {path.replace(".rego", TESTS): JOINED_TEST.format(name) for path, name in joining.items()}


def _result(effect: str, listed: str, said: str) -> str:
    return f'{{"effect": "{effect}", {said}}} if {{\n\tcount({listed}) > 0\n}} else := '


def _each(names: Iterable[str], kind: str) -> str:
    return "".join(f"\n\t\tdata.lockgate.library.{name}.{kind}," for name in names)


def made_exceptions(lifting: Iterable[str]) -> str:
    names = list(lifting)
    return EXCEPTING.format(lifted=_each(names, "lifted"), grants=_each(names, "grants"))


JOIN = """\
# METADATA
# title: Adopted packages
# description: |
#   Made by Lockgate of `policy.library`, for {}. What is strictest of what they say holds.
package lockgate.adopted

# METADATA
# entrypoint: true
result := """

CHOSEN = '"route": choices[0].route, "reasons": [choices[0].reason], "obligations": {}'

COLLECT = """
{} := [found |
	some said in [{}
	]
	some found in said
{}]
"""

ADMIT = """\
# METADATA
# title: Adopted packages at admission
# description: Made by Lockgate of `policy.library`, for {}. What one of them refuses is refused.
package lockgate.adopted_admission

# METADATA
# entrypoint: true
result := {{"effect": "deny", "reasons": denials}} if {{
	count(denials) > 0
}} else := {{"effect": "allow"}}

denials := [found |
	some said in [{}
	]
	some found in said
]
"""

OTHERS = """
others := [reason |
	some reason in remarks
	not doubted(reason)
]

doubted(reason) if reason in doubts
"""

JOINED_TEST = """\
package lockgate.{0}_test

import data.lockgate.{0}
import data.lockgate.library.fixtures

test_it_answers_whatever_is_asked if {{
	found := {0}.result with input as fixtures.decision
	found.effect in {{"allow", "reroute", "review", "deny"}}
}}
"""

EXCEPTING = """\
# METADATA
# title: Exceptions
# description: Made by Lockgate of `policy.library`, in place of the workspace's own file. What adopted packages lift, and grant instead.
package lockgate.exceptions

lifted contains code if {{
	some found in [{lifted}
	]
	some code in found
}}

grants contains reason if {{
	some found in [{grants}
	]
	some reason in found
}}
"""
