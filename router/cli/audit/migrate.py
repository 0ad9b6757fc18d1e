"""`lockgate audit migrate`: a ledger and its subjects' keys, brought to this release's format by whoever owns them."""

from __future__ import annotations

import os
from pathlib import Path

import click

from router.cli.audit.sources import STORE, sources, store_option
from router.cli.common import config_option
from router.wiring.nodes import shared_place
from router.workspace import parse, read


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
    """Bring a ledger, its subjects' keys, and what nodes share, to this release's format, and make their tables where they are in
    PostgreSQL. `lockgate serve` does so by itself; this is for copies, and for databases whose tables the nodes' user does not own."""
    for part, before, now in [*sources(state, config).place.migrate(), *_shared(state, config)]:
        click.echo(f"{part}: format {now}, as it was" if before == now else f"{part}: format {before} → {now}")


def _shared(state: Path | None, config: Path) -> list[tuple[str, int, int]]:
    """Of the configuration's nodes."""
    if state is not None or not config.exists() or click.get_current_context().meta.get(STORE) is not None:
        return []
    place = shared_place(parse(read(config, os.environ), os.environ))
    return [] if place is None else place.migrate()
