"""`lockgate audit migrate`: the tables of a shared ledger, made or brought to this release's format by whoever owns them."""

from __future__ import annotations

from pathlib import Path

import click

from router.cli.audit_sources import sources, store_option
from router.cli.common import config_option


@click.command()
@store_option
@config_option
def migrate(config: Path) -> None:
    """Make the tables of a ledger in PostgreSQL, or bring them to this release's format, as their owner. Nodes do it by themselves where
    their user may; files are always migrated by the process that opens them."""
    for part, before, now in sources(None, config).place.migrate():
        click.echo(f"{part}: format {now}, as it was" if before == now else f"{part}: format {before} → {now}")
