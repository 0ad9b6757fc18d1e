"""`lockgate policy diff`: what a change of policies changes, in their text and in what they answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from router.cli.common import console, json_option, print_json
from router.cli.flips import show_groups
from router.cli.policy.options import counted
from router.policy.comparing import Comparison, compare
from router.policy.folder import find
from router.policy.inputs import generated, recorded

DIFFERENT = 1


@click.command()
@click.argument("before", metavar="A", type=click.Path(path_type=Path))
@click.argument("after", metavar="B", type=click.Path(path_type=Path))
@click.option("--inputs", type=click.Path(path_type=Path), metavar="FILE.jsonl", help="Inputs, one a line; else made from A's fixtures.")
@json_option
@click.option("--exit-code", is_flag=True, help="Exit with 1 when any input gets another effect.")
def diff(before: Path, after: Path, inputs: Path | None, as_json: bool, exit_code: bool) -> int:
    """Compare the policies in two folders A and B: which rules and data changed, and which inputs flip from what to what.

    For another revision, `git worktree add ../before main` makes a folder of it. Inputs that are made say what can change, not how often.
    """
    one, other = find(before, Path()), find(after, Path())
    documents = recorded(inputs) if inputs is not None else generated(one, [other])
    found = compare(one, other, documents)
    if as_json:
        print_json({"inputs_from": str(inputs) if inputs is not None else "generated", **_described(found)})
    else:
        _show(found, str(inputs) if inputs is not None else None)
    return DIFFERENT if exit_code and found.flips else 0


def _described(found: Comparison) -> dict[str, Any]:
    return {
        "inputs": found.inputs,
        "flips": len(found.flips),
        "otherwise": found.otherwise,
        "by": found.groups(),
        "rules": found.rules,
        "changes": [{"rule": each.rule, "what": each.what, "file": each.file, "line": each.line} for each in found.changes],
        "data": found.data,
    }


def _show(found: Comparison, file: str | None) -> None:
    out = console()
    for each in found.changes:
        out.print(f"{each.what:>8} {escape(each.rule)}  ({escape(f'{each.file}:{each.line}')})")
    for path in found.data:
        out.print(f"    data {escape(path)}")
    if not found.changes and not found.data:
        out.print("No rule and no data differs.")
    source = f"of {file}" if file is not None else "made from the fixtures (what can change, not how often)"
    out.print(f"[{'yellow' if found.flips else 'green'}]{len(found.flips):,} of {found.inputs:,} inputs {escape(source)} flip[/]", end="")
    out.print(f", {counted(found.otherwise, 'other')} for other reasons or obligations" if found.otherwise else "")
    show_groups(out, found.groups(), found.rules)
