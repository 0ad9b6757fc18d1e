"""`lockgate audit project`: brings a projection up to the ledger by hand, or makes it again."""

from __future__ import annotations

import os
from pathlib import Path

import click

from router.audit.copies.projecting import step
from router.audit.questions.reader import LedgerReader
from router.cli.audit.options import state_option
from router.cli.audit.sources import sources
from router.cli.bars import progress_bars
from router.cli.common import config_option, console
from router.errors import ConfigError
from router.faults import suggestion
from router.processes.projecting import locked
from router.wiring.projections import Followed, make_projections
from router.workspace import without_policies

PATIENCE_S = 60.0  # for a running server to be done with a batch
LARGE = 50_000  # records in a batch: a rebuilt directory has few large files


@click.command("project")
@click.argument("name")
@click.option("--rebuild", is_flag=True, help="Empty the projection first and make it again from the first record.")
@state_option
@config_option
def project_command(name: str, rebuild: bool, state: Path | None, config: Path) -> None:
    """Bring a projection of `audit.projections` up to the ledger, also beside a running server."""
    followed = _named(name, config)
    reader = sources(state, config).open_reader()
    try:
        with locked(followed.lock, PATIENCE_S):
            if rebuild:
                followed.projection.reset()
            complete = _followed(reader, followed)
    finally:
        reader.close()
    console().print(f"{name} is complete up to record {complete}")


def _named(name: str, config: Path) -> Followed:
    workspace = without_policies(config, os.environ)
    known = {each.name: each for each in make_projections(workspace)}
    if name not in known:
        raise ConfigError(f"The configuration has no projection '{name}'.{suggestion(name, tuple(known))}")
    return known[name]


def _followed(reader: LedgerReader, followed: Followed) -> int:
    if followed.projection.batch > 1000:
        followed.projection.batch = LARGE
    with progress_bars() as bar:
        while True:
            complete, size = step(reader, followed.projection)
            bar(followed.name, complete, size)
            if complete == size:
                return complete
