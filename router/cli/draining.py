"""`lockgate nodes show`, `drain` and `resume`: one node, over its own control API."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import click
from rich.table import Table
from rich.text import Text

from router.cli.common import config_option, console, json_option, print_json
from router.cli.control_client import ControlClient, control_url
from router.cli.control_options import key_option, url_option

F = TypeVar("F", bound=Callable[..., Any])
LOOK_S = 0.5
NOT_YET = 3
node_argument = click.argument("node", default="self", metavar="[NODE]")
reason_option = click.option("--reason", default="", help="Why; on record, sealed under the key of who says it.")


def connected(told: str) -> Callable[[F], F]:
    def add(command: F) -> F:
        for option in (json_option, key_option(told), url_option, config_option):
            command = option(command)
        return command

    return add


@click.command()
@node_argument
@connected("API key with the permission `config.read`.")
def show(node: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Show whether the node that is asked serves, and what is under way there. NODE, its name or id, makes sure that it is that one."""
    _tell(_client(config, url, key).call("GET", _path(node)), as_json)


@click.command()
@node_argument
@reason_option
@click.option("--wait", is_flag=True, help="Until nothing is under way any more.")
@click.option("--timeout", type=click.FloatRange(0), metavar="SECONDS", help="How long to wait; for ever when left out.")
@connected("API key with the permission `nodes.drain`, and to wait `config.read`.")
def drain(node: str, reason: str, wait: bool, timeout: float | None, config: Path, url: str | None, key: str, as_json: bool) -> int:
    """Take the node that is asked out of service: it says that it is not ready and takes up nothing new. It is recorded who ordered it.
    With --wait the exit status is 0 when nothing is under way any more, and 3 when something still is after the timeout."""
    if timeout is not None and not wait:
        raise click.UsageError("--timeout says how long to --wait.")
    there, until = _client(config, url, key), None if timeout is None else time.monotonic() + timeout
    found, said = there.call("POST", f"{_path(node)}/drain", {"reason": reason}), ""
    while wait and found["state"] != "drained":
        if _sentence(found) != said:
            said = _sentence(found)
            click.echo(said, err=True)
        if found["state"] == "serving":
            raise click.ClickException("Somebody let the node serve again.")
        if until is not None and time.monotonic() >= until:
            _tell(found, as_json)
            return NOT_YET
        time.sleep(LOOK_S)
        found = there.call("GET", _path(node))
    _tell(found, as_json)
    return 0


@click.command()
@node_argument
@reason_option
@connected("API key with the permission `nodes.drain`.")
def resume(node: str, reason: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Let the node that is asked serve again. It is recorded who ordered it."""
    _tell(_client(config, url, key).call("POST", f"{_path(node)}/resume", {"reason": reason}), as_json)


def _client(config: Path, url: str | None, key: str) -> ControlClient:
    return ControlClient(url or control_url(config), key)


def _path(node: str) -> str:
    return f"/v1/nodes/{quote(node, safe='')}"


def _sentence(found: dict[str, Any]) -> str:
    under_way = ", ".join(f"{count} {name}" for name, count in found["under_way"].items() if count)
    return f"{found['state']}: {under_way or 'nothing'} under way"


def _tell(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in _rows(found):
        table.add_row(name, Text(value))
    console().print(table)


def _rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [("node", f"{found['name']} ({found['node']})" if found["node"] else found["name"]), ("state", _sentence(found))]
    if found["since"] is not None:
        rows += [("since", f"{found['since']} by {found['by']}"), ("reason", found["reason"] or "-")]
    if found["quiet_since"] is not None:
        rows.append(("quiet since", found["quiet_since"]))
    rows.append(("durable", f"{found['held']} held for a person, {found['deliveries_due']} to be delivered"))
    if found["workers_heard"] < found["workers"]:
        rows.append(("workers", f"{found['workers_heard']} of {found['workers']} say what they are busy with"))
    return rows
