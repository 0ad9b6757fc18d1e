"""`lockgate policy versions` and `rollback`: which policies were in force in a running Lockgate, and going back to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from router.cli.common import console, print_json
from router.cli.policy.rollout_client import client, comment_option, connected

COLUMNS = ("version", "revision", "sequence", "since", "by", "policy_digest")


@click.command()
@connected
def versions(config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Show which policies were in force since when, newest first."""
    _tell(client(config, url, key).versions(), as_json)


@click.command()
@click.option(
    "--to", required=True, metavar="VERSION|workspace", help="The beginning of its digest, or its revision; or the workspace's own."
)
@comment_option
@connected
def rollback(to: str, comment: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Put policies in force that were in force before, whatever the workspace or the server of bundles has now. They stay so until the
    workspace has them, its source has a newer bundle than ever, or `--to workspace` ends it."""
    _tell(client(config, url, key).go_back(to, comment), as_json)


def _tell(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    out, table = console(), Table(box=None, pad_edge=False)
    for name in ("", *COLUMNS):
        table.add_column(name.replace("_", " "), overflow="fold")
    for each in found["versions"]:
        cells = {**each, "policy_digest": each["policy_digest"][:12]}
        table.add_row("→" if each["in_force"] else "", *(escape(str(cells[name] if cells[name] is not None else "")) for name in COLUMNS))
    out.print(table)
    over = found["override"]
    if over is not None:
        out.print(f"version {over['version']} is in force over the workspace's own policies since {over['since']} ({over['why']})")
