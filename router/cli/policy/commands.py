"""`lockgate policy`: what authors of policies do. A table of commands, imported only when called."""

from __future__ import annotations

from importlib import import_module

import click

COMMANDS: dict[str, tuple[str, str]] = {
    "build": ("router.cli.policy.build:build", "Make a bundle of a folder of policies, and sign it."),
    "inspect": ("router.cli.policy.inspect:inspect", "Show what a bundle says of itself."),
    "verify-bundle": ("router.cli.policy.verify_bundle:verify_bundle", "Check a bundle's signature, manifest, tests and policies."),
}


class PolicyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=PolicyGroup)
def policy() -> None:
    """Write, test, compare and roll out policies."""
