"""What the library's packages say of themselves, in their METADATA: for `lockgate policy library`, and for the page of the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from router.library import package_file, packages

BLOCK = re.compile(r"^# METADATA\n((?:#.*\n)+)(\w+)", re.MULTILINE)
HEAD = """\
# The library of policies

Made from the packages' own metadata by `make docs`; not to be changed by hand.

Packages of rules that ship with Lockgate, for what many need and everybody writes a little wrong. One line adopts them:

```yaml
policy:
  library: [working_hours, break_glass]
```

`lockgate policy adopt working_hours` writes that line; `lockgate policy library` says in the terminal what this page says. They work with
any policies, whether or not those have heard of them.

"""
TAIL = """\
## How an adopted package decides

Its rules, and those that it imports, are added to the policies under `library/…`, with a module `lockgate.adopted` that is made and joins
them. Every engine asks `data.lockgate.adopted.result` beside the decision and the intent's own package, and the strictest wins: a package can
deny and hold, and not allow what the policies refuse. Everything is asked after classification. The digest of the policies covers all of it,
so that a record says what decided.

What a package grants or lifts goes through one hook. `decision.rego`, as `lockgate init` writes it, leaves out denials and reviews whose codes
are in `data.lockgate.exceptions.lifted`, and counts `data.lockgate.exceptions.grants` among its grants. `policies/lockgate/exceptions.rego` is
empty; where a package is adopted that lifts something, a made one stands in its place. Policies without the hook are refused with a sentence
when they adopt such a package. To have it, copy that file and write:

```rego
denials := [violation |
	some found in every_denial
	some violation in found
	not lifted(violation)
]

lifted(violation) if violation.code in data.lockgate.exceptions.lifted
```

A package whose settings are missing or cannot be read is refused when the workspace is loaded, with file, line and what is wrong; by an OPA
server that lacks them everything is denied, with a code `….unset`.

## To have it otherwise

By the settings first: they are data, and reload on their own. Where they are not enough, `lockgate policy adopt NAME --copy` copies the
package with its tests to `policies/lockgate/library/NAME`; from then on the copy decides, wherever it lies, by its package name, and no
longer changes with Lockgate. A package may say `deny contains`, `review contains` and `obligations contains`; `lifted contains` and
`grants contains` are for exceptions.

`lockgate policy test`, `check`, `eval`, `diff`, `bench` and `replay` see what the workspace adopts, tests included. Of a folder that is named
they see what the workspace adopts to which it belongs, or else the one in the current directory.

| with | adopted packages |
|---|---|
| a folder of policies | are added when the workspace is read |
| [a bundle](policy-bundles.md) | are put in when it is built, those of the workspace or of `--library NAME`; `policy.library` beside `policy.bundle` is refused, for a bundle decides as it was signed |
| [an OPA server](policy-engines.md) | are put there by `lockgate policy push`; what the server holds decides |
"""


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
    return HEAD + _table() + "".join(_section(described(name)) for name in packages()) + TAIL


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
        f"*To have it otherwise*: {each.override}",
        *(_rule(rule) for rule in each.rules),
    ]
    return "\n\n".join(parts) + "\n\n"


def _rule(rule: Said) -> str:
    said = rule.custom
    effect = said.get("effect", "deny")
    return (
        f"### {rule.title}\n\n{rule.description} Effect: {effect}.\n\n"
        f"* *Why*: {said['why']}\n* *Example*: {said['example']}\n* *To have it otherwise*: {said['override']}"
    )
