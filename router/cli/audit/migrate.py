"""`lockgate audit migrate`: a ledger and its subjects' keys, brought to this release's format by whoever owns them."""

from __future__ import annotations

import os
from pathlib import Path

import click

from router.cli.audit.sources import STORE, sources, store_option
from router.cli.common import config_option
from router.wiring.nodes import shared_place
from router.workspace import Workspace, without_policies


@click.command()
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="LOCKGATE_STATE",
    help="The state directory, or a copy of it; what the configuration says when left out.",
)
@store_option
@config_option
@click.option("--grant-to", metavar="ROLE", help="Grant the nodes' database user what it needs, and nothing more; PostgreSQL only.")
def migrate(state: Path | None, config: Path, grant_to: str | None) -> None:
    """Bring a ledger, its subjects' keys, and what nodes share, to this release's format, and make their tables where they are in
    PostgreSQL. `lockgate serve` does so by itself; this is for copies, and for databases whose tables the nodes' user does not own."""
    place, workspace = sources(state, config).place, _workspace(state, config)
    shared = None if workspace is None else shared_place(workspace)
    for part, before, now in [*place.migrate(), *([] if shared is None else shared.migrate())]:
        click.echo(f"{part}: format {now}, as it was" if before == now else f"{part}: format {before} → {now}")
    if grant_to is None:
        return
    place.grant(grant_to, workspace is not None and workspace.config.audit.retention is not None)
    if shared is not None:
        shared.grant(grant_to)
    click.echo(f"{grant_to} may do what nodes need.")


def _workspace(state: Path | None, config: Path) -> Workspace | None:
    """Of nodes that share more; none where only a ledger is named."""
    if state is not None or not config.exists() or click.get_current_context().meta.get(STORE) is not None:
        return None
    return without_policies(config, os.environ)
