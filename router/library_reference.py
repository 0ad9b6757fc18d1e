"""What the library's packages say of themselves, in their METADATA: for `lockgate policy library`, and for a page of the documentation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

from router.library import package_file, packages

BLOCK = re.compile(r"^# METADATA\n((?:#.*\n)+)(\w+)", re.MULTILINE)
PAGE = "library_page.md"


@dataclass(frozen=True, slots=True)
class Said:
    """One METADATA block: of the package, or of a rule."""

    title: str
    description: str
    custom: Mapping[str, Any]
    package: bool


@dataclass(frozen=True, slots=True)
class Described:
    """`settings` is the key below `lockgate.config`; `example` data to begin with."""

    name: str
    title: str
    description: str
    settings: str
    why: str
    override: str
    rules: tuple[Said, ...]
    example: str


def described(name: str) -> Described:
    file = package_file(name)
    whole, *rules = _blocks(file.read_text(encoding="utf-8"))
    custom = whole.custom
    example = file.with_name("example.yaml").read_text(encoding="utf-8")
    named = tuple(each for each in rules if each.title)
    return Described(name, whole.title, whole.description, custom["settings"], custom["why"], custom["override"], named, example)


def page() -> str:
    """`docs/policy-library.md`."""
    sections = _table() + "".join(_section(described(name)) for name in packages())
    return files("router").joinpath(PAGE).read_text(encoding="utf-8").replace("{packages}", sections)


def _blocks(text: str) -> Iterator[Said]:
    for found in BLOCK.finditer(text):
        said = yaml.safe_load("\n".join(line[2:] for line in found[1].splitlines()))
        description = " ".join(str(said.get("description", "")).split())
        yield Said(said.get("title", ""), description, said.get("custom", {}), found[2] == "package")


def _table() -> str:
    rows = [f"| [`{each.name}`](#{each.name}) | {each.title} | `{each.settings}` |" for each in map(described, packages())]
    return "\n".join(["| package | | settings, below `lockgate.config` |", "|---|---|---|", *rows, "", ""])


def _section(each: Described) -> str:
    parts = [
        f"## {each.name}",
        f"{each.description}",
        f"*Why*: {each.why}",
        f"```yaml\n{each.example}```",
        _settings(each.name),
        f"*To have it otherwise*: {each.override}",
        *(_rule(rule) for rule in each.rules),
    ]
    return "\n\n".join(parts) + "\n\n"


def _settings(name: str) -> str:
    """Of the schema, as a table; `*` stands for any name, `[]` for every item of a list."""
    schema = json.loads(package_file(name).with_name("settings.json").read_text(encoding="utf-8"))
    rows = [f"| `{path}` | {'yes' if needed else ''} | {said} |" for path, needed, said in _rows(schema, "")]
    return "\n".join(["| setting | needed | |", "|---|---|---|", *rows])


def _rows(schema: Mapping[str, Any], above: str) -> Iterator[tuple[str, bool, str]]:
    for key, inner in schema.get("properties", {}).items():
        path = f"{above}{key}"
        values = f" {', '.join(f'`{value}`' for value in inner['enum'])}." if "enum" in inner else ""
        yield path, key in schema.get("required", ()), f"{inner.get('description', '')}{values}"
        yield from _rows(inner, f"{path}.")
        for deeper, sign in ((inner.get("items"), "[]"), (inner.get("additionalProperties"), ".*")):
            if isinstance(deeper, dict):
                yield from _rows(deeper, f"{path}{sign}.")


def _rule(rule: Said) -> str:
    said = rule.custom
    effect = said.get("effect", "deny")
    return (
        f"### {rule.title}\n\n{rule.description} Effect: {effect}.\n\n"
        f"* *Why*: {said['why']}\n* *Example*: {said['example']}\n* *To have it otherwise*: {said['override']}"
    )
