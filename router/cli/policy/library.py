"""`lockgate policy library`: the packages of rules that ship with Lockgate."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from router.cli.common import console, json_option, print_json
from router.errors import ConfigError
from router.library import packages, unknown
from router.library_reference import Described, described


@click.command()
@click.argument("name", required=False)
@json_option
def library(name: str | None, as_json: bool) -> None:
    """List the packages that a workspace can adopt, or show one: why, its rules, its settings, and how to have it otherwise."""
    if name is not None and (faults := list(unknown([name]))):
        raise ConfigError(*faults)
    found = [described(each) for each in (packages() if name is None else [name])]
    if as_json:
        print_json([_plain(each) for each in found])
    elif name is None:
        _list(found)
    else:
        _show(found[0])


def _plain(each: Described) -> dict[str, Any]:
    rules = [{"code": rule.title, "description": rule.description, "effect": "deny", **rule.custom} for rule in each.rules]
    return {**asdict(each), "rules": rules}


def _list(found: list[Described]) -> None:
    table = Table("package", "", "settings", box=None)
    for each in found:
        table.add_row(each.name, each.title, each.settings)
    console().print(table)
    console(error=True).print("`lockgate policy library NAME` says more; `lockgate policy adopt NAME` adopts one.", markup=False)


def _show(each: Described) -> None:
    out = console()
    out.print(f"[bold]{each.name}[/]  {escape(each.title)}\n\n{escape(each.description)}")
    out.print(f"\nWhy: {escape(each.why)}\nOtherwise: {escape(each.override)}\n")
    for rule in each.rules:
        said = rule.custom
        out.print(f"[bold]{rule.title}[/] ({said.get('effect', 'deny')}): {escape(rule.description)}")
        for word in ("why", "example", "override"):
            out.print(f"  {word}: {escape(str(said[word]))}")
    out.print("\nSettings to begin with:\n")
    click.echo(each.example, nl=False)
