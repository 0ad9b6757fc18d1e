"""`lockgate audit prune`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from router.audit.governance.facts import Facts
from router.cli.audit.orders import ordering, orders
from router.cli.audit.sources import sources
from router.cli.common import console, json_option, print_json
from router.errors import AuditError
from router.workspace import without_policies

Json = dict[str, Any]


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be removed. Reads the files; works beside a running Lockgate.")
@click.option("--authority", default="", help="On whose word. May name people: it is sealed.")
@ordering
@json_option
def prune(dry_run: bool, authority: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Remove personal parts that are older than their class of `audit.retention` says, and are not on hold.

    Leaves, hashes and checkpoints stay, and so does every proof. What was removed is itself recorded and signed.
    """
    summary = _foreseen(config) if dry_run else _pruned(config, url, key, authority)
    if as_json:
        print_json(summary)
    else:
        _tell(summary, dry_run)


def _pruned(config: Path, url: str | None, key: str, authority: str) -> Json:
    """Until there is nothing more to do."""
    carried_out = orders(config, url, key)
    total = carried_out.prune(authority)
    more = total
    while more["more"]:
        more = carried_out.prune(authority)
        total["records"] += more["records"]
        for one, other in zip(total["classes"], more["classes"], strict=False):
            one.update({name: one[name] + other[name] for name in ("parts", "bytes", "held")})
    return {**total, "more": False}


def _foreseen(config: Path) -> Json:
    from router.audit.governance.pruning import foreseen
    from router.wiring.governance import retention, summary_document  # what only this way needs

    settings = without_policies(config, os.environ).config.audit.retention
    if settings is None:
        raise AuditError("The configuration has no audit.retention: nothing is pruned.", "audit_retention_missing")
    place = sources(None, config)
    with place.opened() as (reader, index):
        return summary_document(foreseen(Facts(reader, index), retention(settings), time.time_ns()))


def _tell(summary: Json, dry_run: bool) -> None:
    table = Table("class", "keep", "old enough before record", "parts", "bytes", "left for a hold", box=None, pad_edge=False)
    for each in summary["classes"]:
        table.add_row(each["name"], each["keep"], *(str(each[name]) for name in ("older_than", "parts", "bytes", "held")))
    console().print(table)
    for jump in summary["jumps"]:
        click.echo(f"The clock jumped by {jump['days']} days at record {jump['record']}; 31 of them are counted.", err=True)
    parts = sum(each["parts"] for each in summary["classes"])
    if dry_run:
        click.echo(f"{parts} personal parts would be removed. Nothing was changed.")
    elif parts:
        click.echo(
            f"{parts} personal parts were removed, as {len(summary['records'])} records say, the last of them {summary['records'][-1]}."
        )
    else:
        click.echo("Nothing was old enough.")
