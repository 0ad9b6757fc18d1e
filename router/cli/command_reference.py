"""The command reference in Markdown, made from the commands themselves: a heading for every command, a row for every option."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import click

HELP = "help"
"""What every command has; told once for all."""


@dataclass(frozen=True, slots=True)
class Described:
    """One command under its full name, such as `lockgate audit verify`; `context` has it and its parents."""

    command: click.Command
    context: click.Context

    @property
    def name(self) -> str:
        return self.context.command_path

    @property
    def depth(self) -> int:
        return self.name.count(" ")

    @property
    def callable(self) -> bool:
        """Not only the folder of others."""
        return not isinstance(self.command, click.Group) or self.command.invoke_without_command


def commands(root: click.Command, name: str, parent: click.Context | None = None) -> Iterator[Described]:
    """The command itself, then those below it, in the order of help. Imports all of them."""
    context = click.Context(root, info_name=name, parent=parent)
    yield Described(root, context)
    if isinstance(root, click.Group):
        for each in root.list_commands(context):
            found = root.get_command(context, each)
            if found is not None:
                yield from commands(found, each, context)


def command_reference(root: click.Command, name: str) -> str:
    lines = [files("router.cli").joinpath("command_reference.md").read_text(encoding="utf-8")]
    for described in commands(root, name):
        if described.depth:
            lines += _section(described)
    return "\n".join(lines)


def _section(described: Described) -> list[str]:
    told = inspect.cleandoc(described.command.help or "")
    lines = [f"{'#' * (described.depth + 1)} `{described.name}`", "", told, ""]
    if described.callable:
        lines += ["```", " ".join([described.name, *described.command.collect_usage_pieces(described.context)]), "```", ""]
    rows = [_row(option, described.context) for option in described.command.params if _shown(option)]
    if rows:
        lines += ["| option | what it is |", "|---|---|", *rows, ""]
    return lines


def _shown(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Option) and not parameter.hidden and parameter.name != HELP


def _row(option: Any, context: click.Context) -> str:
    """Click's own words for an option's form, limits and default, so that this page and `--help` never differ."""
    form, told = option.get_help_record(context)
    return f"| `{_cell(form)}` | {_cell(told)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
