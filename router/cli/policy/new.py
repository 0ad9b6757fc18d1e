"""`lockgate policy new`: something to begin from that is right as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from router.cli.common import config_option, console, json_option, print_json
from router.cli.policy.options import folder_argument
from router.policy.folder import find
from router.policy.making import NewRule, new_rule, write


@click.group()
def new() -> None:
    """Write something new into the policies."""


@new.command()
@click.argument("name")
@folder_argument
@config_option
@click.option("--dry-run", is_flag=True, help="Write nothing; show what would be written.")
@json_option
def rule(name: str, folder: Path | None, config: Path, dry_run: bool, as_json: bool) -> None:
    """Write the rule NAME (`payments/limits`) with its test and metadata into FOLDER, or else into the workspace's policies.

    It passes `policy check` and `policy test` as it is, and decides nothing until an entry point names it. Nothing is overwritten.
    """
    made = new_rule(find(folder, config).path, name)
    if not dry_run:
        write(made)
    if as_json:
        print_json(_described(made, written=not dry_run))
        return
    for file, text in made.files.items():
        click.echo(f"# {file}\n{text}" if dry_run else file)
    console(error=True).print(f"To let it decide, add [bold]{made.deny}[/] to the denials of decision.rego or admission.rego.")


def _described(made: NewRule, *, written: bool) -> dict[str, Any]:
    return {
        "rule": str(made.rule),
        "test": str(made.test),
        "deny": made.deny,
        "written": written,
        "metadata": {"title": made.title, "package": made.package, "code": made.code},
        "files": [{"path": str(file), "text": text} for file, text in made.files.items()],
    }
