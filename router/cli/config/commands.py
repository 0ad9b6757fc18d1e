"""`lockgate config`: what a workspace would change."""

from __future__ import annotations

import click

from router.cli.lazy import LazyGroup

COMMANDS = {"diff": ("router.cli.config.diff:diff", "Say what the folder would change of what serves, or of another workspace.")}


@click.group(cls=LazyGroup, table=COMMANDS)
def config() -> None:
    """See what a change of the configuration means before it is taken up."""
