"""`lockgate endpoints`: webhook endpoints that said that they are gone. Who can write to the state, and to what nodes share, is trusted; no
running Lockgate is needed."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from adapters.webhook.gone import Ended, enable, enable_everywhere, ended, ended_everywhere
from router.cli.common import config_option, console, json_option, print_json
from router.wiring.sharing import with_endpoints
from router.workspace import Workspace, parse, read

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
    where, shared = _places(config, state)
    found = _everywhere(where, shared)
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
    where, shared = _places(config, state)
    found = [each for each in _everywhere(where, shared) if each.destination == destination and each.endpoint.startswith(endpoint)]
    if not found:
        raise click.ClickException(f"no such endpoint of '{destination}' is gone; `lockgate endpoints list` shows those that are.")
    for each in found:
        enable(where, each)
        if shared is not None:
            asyncio.run(with_endpoints(shared, partial(enable_everywhere, each)))
        click.echo(f"{each.host or each.endpoint[:SHOWN]} of {destination} is tried again.")


def _row(each: Ended) -> dict[str, Any]:
    since = datetime.fromtimestamp(each.since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if each.since else ""
    return {"destination": each.destination, "endpoint": each.endpoint, "host": each.host, "since": since, "decision": each.decision}


def _places(config: Path, state: Path | None) -> tuple[Path, Workspace | None]:
    """The state, and the workspace where nodes share some; a state that is named is looked at alone."""
    if state is not None:
        return state, None
    workspace = parse(read(config, os.environ), os.environ)
    return workspace.path(workspace.config.state), workspace if workspace.config.shared_state is not None else None


def _everywhere(state: Path, shared: Workspace | None) -> list[Ended]:
    """Each once: what this node keeps, and what all do."""
    found = ended(state)
    if shared is not None:
        found += asyncio.run(with_endpoints(shared, ended_everywhere))
    return list({(each.destination, each.endpoint): each for each in found}.values())
