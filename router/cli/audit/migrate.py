"""`lockgate audit migrate`: a ledger and its subjects' keys, brought to this release's format by whoever owns them."""

from __future__ import annotations

from pathlib import Path

import click

from router.cli.audit.sources import sources, store_option
from router.cli.common import config_option


@click.command()
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="LOCKGATE_STATE",
    help="The state directory, or a copy of it; what the configuration says when left out.",
)
@store_option
@config_option
def migrate(state: Path | None, config: Path) -> None:
    """Bring a ledger and its subjects' keys to this release's format, and make their tables where they are in PostgreSQL. `lockgate serve`
    does so by itself; this is for copies, and for databases whose tables the nodes' user does not own."""
    for part, before, now in sources(state, config).place.migrate():
        click.echo(f"{part}: format {now}, as it was" if before == now else f"{part}: format {before} → {now}")
