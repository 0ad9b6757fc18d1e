"""`lockgate deliveries`: what a running Lockgate has still to deliver, over its control API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import click
from rich.table import Table
from rich.text import Text

from router.cli.common import config_option, console, json_option, print_json
from router.cli.control_client import ControlClient, control_url
from router.cli.control_options import key_option, url_option

F = TypeVar("F", bound=Callable[..., Any])
LISTED = ("id", "state", "route", "destination", "tenant", "due", "attempts", "reason", "decided", "next", "until")
key_needed = key_option("API key with the role `operator`.")


def connected(command: F) -> F:
    for option in (json_option, key_needed, url_option, config_option):
        command = option(command)
    return command


@click.group()
def deliveries() -> None:
    """List, show, retry and drop deliveries of a running Lockgate."""


@deliveries.command("list")
@click.option(
    "--state", type=click.Choice(["pending", "dead", "any"]), default="any", show_default=True, help="Only these; dead: given up."
)
@connected
def list_deliveries(state: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """List deliveries that wait or were given up, in the order of their decisions."""
    found = list(_all(_client(config, url, key), None if state == "any" else state))
    if as_json:
        print_json(found)
        return
    out = console()
    table = Table(box=None, pad_edge=False)
    for name in LISTED:
        table.add_column(name, no_wrap=name == "id", overflow="fold")
    for row in found:
        table.add_row(*(_text(row[name]) for name in LISTED))
    out.print(table if found else "There is none.")


@deliveries.command()
@click.argument("delivery_id", metavar="ID")
@connected
def show(delivery_id: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Show one delivery, by its decision's id."""
    _tell(_client(config, url, key).call("GET", _path(delivery_id)), as_json)


@deliveries.command()
@click.argument("delivery_id", metavar="ID")
@connected
def retry(delivery_id: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Have a delivery that was given up sent again. It is recorded who ordered it."""
    _tell(_client(config, url, key).call("POST", f"{_path(delivery_id)}/retry"), as_json)


@deliveries.command()
@click.argument("delivery_id", metavar="ID")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@connected
def drop(delivery_id: str, yes: bool, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Remove a delivery that was given up, for good. It is recorded who ordered it."""
    if not yes:
        click.confirm(f"Remove the delivery {delivery_id}? Nobody can send it again then.", abort=True)
    _tell(_client(config, url, key).call("POST", f"{_path(delivery_id)}/drop"), as_json)


def _all(client: ControlClient, state: str | None) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        wanted = {name: value for name, value in (("state", state), ("cursor", cursor)) if value is not None}
        page = client.call("GET", f"/v1/deliveries?{urlencode(wanted)}")
        yield from page["deliveries"]
        cursor = page["next"]
        if cursor is None:
            return


def _tell(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    out = console()
    for name, value in found.items():
        out.print(Text.assemble((f"{name:12}", "bold"), _text(value)))


def _text(value: object) -> Text:
    return Text("-" if value is None or value == "" else "yes" if value is True else "no" if value is False else str(value))


def _client(config: Path, url: str | None, key: str) -> ControlClient:
    return ControlClient(url or control_url(config), key)


def _path(delivery_id: str) -> str:
    return f"/v1/deliveries/{quote(delivery_id, safe='')}"
