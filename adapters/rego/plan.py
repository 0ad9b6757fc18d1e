"""What is known of checked policies before anything is asked: which questions there are, which files can play a part in each answer, and on
what of the input it depends. Made once, and where a policy cannot hold anybody up; whoever evaluates is given it.

A question's own files are all that its interpreter gets, so that a verdict costs the same beside a thousand other rules as beside ten.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.rego.reads import Read, reached_files, reads
from adapters.rego.syntax import Module, Path

OPTIONAL = "review"  # who may do what with a held request; where it is not there, nobody may do anything
ENTRIES: Mapping[str, str] = {entry: f"data.lockgate.{entry}.result" for entry in ("admission", "decision", OPTIONAL)}
ADOPTED: Mapping[str, Path] = {  # what adopted packages say at each entry point, as far as any has something to say there
    "admission": ("data", "lockgate", "adopted_admission"),
    "decision": ("data", "lockgate", "adopted"),
}
ADOPTING: Mapping[str, str] = {entry: f"{'.'.join(package)}.result" for entry, package in ADOPTED.items()}
INTENT = re.compile(r"data\.lockgate\.intents\.([^.]+)\.result")


@dataclass(frozen=True, slots=True)
class Question:
    """`files` have every rule that can play a part in the answer; `reads` is what of the input it depends on, None where that may be all of
    it."""

    files: tuple[str, ...]
    reads: tuple[Read, ...] | None


@dataclass(frozen=True, slots=True)
class Plan:
    """`questions` by the rule that is asked: the entry points', one for each intent that has a package, and those of adopted packages."""

    questions: Mapping[str, Question]

    def beside(self, packages: Sequence[str], entry: str) -> list[str]:
        """The rules that are asked beside an entry point's: those of the intents' packages that there are, and that of adopted ones."""
        rules = [f"data.lockgate.intents.{name}.result" for name in packages] if entry == "decision" else []
        adopting = [ADOPTING[entry]] if entry in ADOPTING else []
        return [rule for rule in (*rules, *adopting) if rule in self.questions]

    def to_json(self) -> dict[str, Any]:
        return {rule: [list(each.files), _told(each.reads)] for rule, each in self.questions.items()}

    @staticmethod
    def from_json(value: Any, files: Collection[str]) -> Plan:
        """Of policies in `files`. It may come from a process that nobody trusts: raises ValueError for whatever is no plan."""
        if not isinstance(value, dict) or not value.keys() >= {ENTRIES[entry] for entry in ENTRIES if entry != OPTIONAL}:
            raise ValueError("a plan has the entry points")
        if not all(rule in (*ENTRIES.values(), *ADOPTING.values()) or INTENT.fullmatch(rule) for rule in value):
            raise ValueError("a plan asks the entry points, and the packages of intents and adopted ones")
        return Plan({rule: _question(each, frozenset(files)) for rule, each in value.items()})


def make_plan(modules: Sequence[Module]) -> Plan:
    """Of modules that were checked."""
    there = {module.package for module in modules}
    entries: dict[str, Path] = {rule: ("data", "lockgate", entry) for entry, rule in ENTRIES.items()}
    asked = {rule: path for rule, path in entries.items() if path[-1] != OPTIONAL or path in there}
    packages = sorted({module.package for module in modules if _beside(module.package)})
    asked |= {f"{'.'.join(package)}.result": package for package in packages}
    return Plan({rule: Question(reached_files(modules, package), reads(modules, package)) for rule, package in asked.items()})


def _beside(package: Path) -> bool:
    return package in ADOPTED.values() or (package[1:3] == ("lockgate", "intents") and len(package) == 4)


def _told(found: tuple[Read, ...] | None) -> list[Any] | None:
    return None if found is None else [[list(each.path), list(each.by), each.kind] for each in found]


def _question(value: Any, files: frozenset[str]) -> Question:
    match value:
        case [list(own), None] if own and _texts(own) and files.issuperset(own):
            return Question(tuple(own), None)
        case [list(own), list(found)] if own and _texts(own) and files.issuperset(own):
            return Question(tuple(own), tuple(_read(each) for each in found))
    raise ValueError("a question has files of the policies, and what it reads")


def _read(value: Any) -> Read:
    match value:
        case [[_, *_] as path, list(by), bool(kind)] if _texts(path) and _texts(by) and not (by and kind):
            return Read(tuple(path), tuple(by), kind)
    raise ValueError("a question reads by a path, the setting that names a member, and whether it is only asked for its kind")


def _texts(value: list[Any]) -> bool:
    return all(isinstance(each, str) for each in value)
