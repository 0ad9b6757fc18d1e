"""`lockgate policy new`: something to begin from that is right as it is."""

from __future__ import annotations

from pathlib import Path

import click

from router.cli.common import config_option, console, json_option, print_json
from router.cli.policy.options import folder_argument
from router.policy.folder import find
from router.policy.making import new_rule


@click.group()
def new() -> None:
    """Write something new into the policies."""


@new.command()
@click.argument("name")
@folder_argument
@config_option
@json_option
def rule(name: str, folder: Path | None, config: Path, as_json: bool) -> None:
    """Write the rule NAME (`payments/limits`) with its test and metadata into FOLDER, or else into the workspace's policies.

    It passes `policy check` and `policy test` as it is, and decides nothing until an entry point names it. Nothing is overwritten.
    """
    place = find(folder, config).path
    written, test = new_rule(place, name)
    line = f"data.lockgate.rules.{name.replace('/', '.')}.deny"
    if as_json:
        print_json({"rule": str(written), "test": str(test), "deny": line})
        return
    click.echo(f"{written}\n{test}")
    console(error=True).print(f"To let it decide, add [bold]{line}[/] to the denials of decision.rego or admission.rego.")
