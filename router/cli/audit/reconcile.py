"""`lockgate audit reconcile`: decisions, outcomes and evidence held against each other."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import click
from rich.markup import escape

from router.audit.copies.reconcile import GRACE_S, Mismatch, Reconciliation, compare
from router.cli.audit.noting import noted
from router.cli.audit.options import FAULTY, Moment, Seconds, state_option, workspace_of
from router.cli.audit.output import json_line
from router.cli.audit.project import PATIENCE_S
from router.cli.audit.sources import Sources, sources
from router.cli.common import config_option, console, json_option
from router.processes.projecting import locked
from router.wiring.projections import make_projections
from router.wiring.reconciling import document, promises
from router.workspace import Workspace

UNCHECKED = "Evidence that services promised was not looked for, for there is no configuration: name one with --config."


@click.command("reconcile")
@click.option("--since", type=Moment(), help="Only records from this time on.")
@click.option("--grace", type=Seconds(), default=GRACE_S, show_default="15m", help="How long an outcome is not missed yet.")
@state_option
@config_option
@json_option
@click.pass_context
def reconcile_command(ctx: click.Context, since: str | None, grace: float, state: Path | None, config: Path, as_json: bool) -> None:
    """Find decisions, outcomes and evidence that do not fit each other. Ends with 1 when there are any."""
    workspace = workspace_of(ctx, state, config)
    place = sources(state, config)
    with noted(place.state, "reconciliation", "" if since is None else f"time >= '{since}'", personal=False) as read:
        read.rows = _reconciled(place, workspace, since, grace, as_json)
    if read.rows:
        ctx.exit(FAULTY)


def _reconciled(place: Sources, workspace: Workspace | None, since: str | None, grace: float, as_json: bool) -> int:
    """How many were found."""
    counts, after = Counter[str](), None
    owed = None if workspace is None else promises(workspace)
    with place.opened() as (reader, index):
        reconciliation = Reconciliation(reader, index, owed, time.time_ns(), grace, since)
        while True:
            scan = reconciliation.scan(after)
            for one in scan.found:
                counts[one.kind] += 1
                _print(one, as_json)
            after = scan.after
            if after is None:
                break
        for each in () if workspace is None else make_projections(workspace):
            with locked(each.lock, PATIENCE_S):
                for one in compare(reader, each.name, each.projection):
                    counts[one.kind] += 1
                    _print(one, as_json)
    if as_json:
        unchecked = [] if owed is not None else [UNCHECKED]
        click.echo(json_line({"summary": dict(counts), "complete_to": scan.complete, "not_checked": unchecked}))
        return counts.total()
    _print_summary(counts, scan.complete)
    if owed is None:
        console().print(f"  [yellow]not checked[/yellow]  {UNCHECKED}")
    return counts.total()


def _print(one: Mismatch, as_json: bool) -> None:
    if as_json:
        click.echo(json_line(document(one)))
        return
    screen = console()
    screen.print(f"[red]{one.kind}[/red]  record {one.index}  {one.time[:19].replace('T', ' ')}  {escape(one.message)}")
    screen.print(f"    {escape(one.query)}")


def _print_summary(counts: Counter[str], complete: int) -> None:
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    state = f"[bold red]{told}[/bold red]" if counts else "[bold green]everything fits[/bold green]"
    console().print(f"{state}  {complete} records")
