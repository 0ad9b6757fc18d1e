"""`lockgate endpoints`: webhook endpoints that said that they are gone. Who can write to the state is trusted; no running Lockgate is
needed."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from adapters.webhook.gone import Ended, enable, ended
from router.cli.common import config_option, console, json_option, print_json
from router.workspace import parse, read

state_option = click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="LOCKGATE_STATE",
    show_envvar=True,
    help="Directory that holds the state; the configuration's when left out.",
)
SHOWN = 12


@click.group()
def endpoints() -> None:
    """List webhook endpoints that answered 410 Gone, and have them tried again."""


@endpoints.command("list")
@config_option
@state_option
@json_option
def list_endpoints(config: Path, state: Path | None, as_json: bool) -> None:
    """Show every endpoint that nothing is sent to any more."""
    found = ended(_state(config, state))
    if as_json:
        print_json([_row(each) for each in found])
        return
    table = Table("destination", "endpoint", "host", "since", "decision", box=None)
    for each in found:
        row = _row(each)
        table.add_row(*(Text(str(row[name])[: SHOWN if name == "endpoint" else None]) for name in row))
    console().print(table)


@endpoints.command("enable")
@click.argument("destination")
@click.option(
    "--endpoint", default="", help="The endpoint's id as `list` shows it, or its beginning; all of the destination when left out."
)
@config_option
@state_option
def enable_endpoints(destination: str, endpoint: str, config: Path, state: Path | None) -> None:
    """Have the next message to DESTINATION sent again. A running Lockgate heeds it at once."""
    where = _state(config, state)
    found = [each for each in ended(where) if each.destination == destination and each.endpoint.startswith(endpoint)]
    if not found:
        raise click.ClickException(f"no such endpoint of '{destination}' is gone; `lockgate endpoints list` shows those that are.")
    for each in found:
        enable(where, each)
        click.echo(f"{each.host or each.endpoint[:SHOWN]} of {destination} is tried again.")


def _row(each: Ended) -> dict[str, Any]:
    since = datetime.fromtimestamp(each.since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if each.since else ""
    return {"destination": each.destination, "endpoint": each.endpoint, "host": each.host, "since": since, "decision": each.decision}


def _state(config: Path, state: Path | None) -> Path:
    if state is not None:
        return state
    workspace = parse(read(config, os.environ), os.environ)
    return workspace.path(workspace.config.state)
