"""`lockgate nodes`: the nodes of one ledger, over the control API of any of them; and the one that is asked, out of service and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.table import Table
from rich.text import Text

from router.cli.common import config_option, console, json_option, print_json
from router.cli.control_client import ControlClient, control_url
from router.cli.control_options import key_option, url_option
from router.cli.draining import drain, resume, show

SHORT = 12
DIGESTS = ("config_digest", "catalog_digest", "policy_digest", "model", "override")


@click.group(invoke_without_command=True)
@config_option
@url_option
@key_option("API key with the permission `config.read`.")
@json_option
@click.pass_context
def nodes(context: click.Context, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Show the nodes of this ledger, what each of them runs, and in what they differ since when. With a command: take the node that is
    asked out of service, or let it serve again."""
    if context.invoked_subcommand is not None:
        given = [name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
        if given:  # they would be the list's, and nobody's
            raise click.UsageError(f"Give options after the command: lockgate nodes {context.invoked_subcommand} …")
        return
    found = ControlClient(url or control_url(config), key).call("GET", "/v1/nodes")
    if as_json:
        print_json(found)
        return
    out = console()
    table = Table(
        "name", "node", "state", "version", "config", "catalog", "policies", "model", "bundle", "started", "seen", "clock", box=None
    )
    for each in found["nodes"]:
        table.add_row(*(Text(cell) for cell in _cells(each)))
    out.print(table)
    for each in found["skew"]:
        out.print(Text(_sentence(each)))
    if not found["skew"]:
        out.print("All living nodes run the same.")


for command in (show, drain, resume):
    nodes.add_command(command)


def _cells(each: dict[str, Any]) -> tuple[str, ...]:
    state = ("here" if each["own"] else "alive") if each["alive"] else "gone"
    state += f", {each['state']}" if each["alive"] and each["state"] not in (None, "serving") else ""
    bundle = "-" if each["bundle_revision"] is None else f"{each['bundle_revision']} ({each['bundle_sequence']})"
    policies = _short(each["policy_digest"]) + (" (overridden)" if each["override"] else "")
    digests = (_short(each["config_digest"]), _short(each["catalog_digest"]), policies, _short(each["model"]), bundle)
    return each["name"], each["node"], state, str(each["version"]), *digests, each["started"], each["seen"], f"{each['clock_ahead']:+.1f} s"


def _sentence(each: dict[str, Any]) -> str:
    short = _short if each["property"] in DIGESTS else str
    values = "; ".join(f"{short(value['value'])} on {', '.join(sorted(value['nodes']))}" for value in each["values"])
    return f"They differ in {each['property']} since {each['since']}: {values}."


def _short(value: object) -> str:
    return "-" if value is None else str(value).removeprefix("sha256:")[:SHORT]
