"""A new rule to begin from, with its test and metadata: it passes every check as it is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from router.errors import ConfigError

NAME = re.compile(r"[a-z][a-z0-9_]*(/[a-z][a-z0-9_]*){0,3}")
RESERVED = frozenset(
    [
        "as",
        "contains",
        "default",
        "else",
        "every",
        "false",
        "if",
        "import",
        "in",
        "not",
        "null",
        "package",
        "some",
        "true",
        "with",
        "data",
        "input",
    ]
)
BELOW = Path("lockgate") / "rules"

RULE = """# METADATA
# title: {title}
# description: Say here what this rule refuses, and why. People read it who are refused by it.
package {package}

import data.lockgate.lib.violation

# METADATA
# description: A caller of a type that nobody named is refused.
deny contains violation.reason("{code}", "say here what is wrong, to the caller") if not known(input)

# METADATA
# description: Negate whole functions, never a comparison over something that may be missing.
known(seen) if seen.subject.type in {{"user", "service"}}
"""
TEST = """package {package}_test

import {import_path}

test_a_known_caller_passes if {{
	found := {last}.deny with input as {{"subject": {{"type": "user"}}}}
	count(found) == 0
}}

test_any_other_caller_is_refused if {{
	found := {last}.deny with input as {{"subject": {{"type": "stranger"}}}}
	{{code | some each in found; code := each.code}} == {{"{code}"}}
}}

test_a_caller_of_no_type_is_refused if {{
	found := {last}.deny with input as {{}}
	count(found) == 1
}}
"""


@dataclass(frozen=True, slots=True)
class NewRule:
    """`rule` and `test` are the files that hold `files`, texts by path; the others are what its metadata and its name say."""

    rule: Path
    test: Path
    files: Mapping[Path, str]
    title: str
    package: str
    code: str

    @property
    def deny(self) -> str:
        """What an entry point has to name so that the rule decides."""
        return f"data.{self.package}.deny"


def new_rule(folder: Path, name: str) -> NewRule:
    """Nothing is written yet. Raises ConfigError where the policies in `folder` have no place for it."""
    parts = name.split("/")
    if not NAME.fullmatch(name) or RESERVED & set(parts):
        raise ConfigError(
            f"'{name}' is no name of a rule: up to four parts with '/' between, of letters a-z, digits and '_'; no word of Rego."
        )
    last = parts[-1]
    place = folder / BELOW / Path(*parts)
    title, package, code = last.replace("_", " ").capitalize(), ".".join(("lockgate", "rules", *parts)), f"{last}.unknown_caller"[:64]
    rule, test = place / f"{last}.rego", place / f"{last}_test.rego"
    made = {
        rule: RULE.format(title=title, package=package, code=code),
        test: TEST.format(package=package, import_path=f"data.{package}", code=code, last=last),
    }
    there = [file for file in made if file.exists()]
    if there:
        raise ConfigError(*(f"{file}:1: The file is already there, and nothing is overwritten." for file in there))
    if not (folder / "lockgate" / "lib" / "violation.rego").is_file():
        raise ConfigError(f"{folder}: The rule would use 'lockgate/lib/violation.rego', which is not there; `lockgate init` writes it.")
    return NewRule(rule, test, made, title, package, code)


def write(new: NewRule) -> None:
    """Overwrites nothing. Raises ConfigError."""
    place = new.rule.parent
    try:
        place.mkdir(parents=True, exist_ok=True)
        for file, text in new.files.items():
            with file.open("x") as opened:
                opened.write(text)
    except OSError as error:
        raise ConfigError(f"{place}: The rule cannot be written: {error.strerror}.") from error
