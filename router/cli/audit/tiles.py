"""`lockgate audit tiles`: the ledger as static files."""

from __future__ import annotations

from pathlib import Path

import click

from router.audit.tree.tile_files import export
from router.audit.tree.tiles import tiles_of
from router.cli.audit.sources import sources
from router.cli.bars import progress_bars
from router.cli.common import config_option, console, json_option, print_json


@click.command("tiles")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Directory of the files; made if need be.")
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="LOCKGATE_STATE",
    help="The state directory, or a copy of it; `state` of the configuration when left out.",
)
@config_option
@json_option
def tiles(out: Path, state: Path | None, config: Path, as_json: bool) -> None:
    """Write the tree and its entries as C2SP tlog-tiles, up to the latest checkpoint. Run it again to add what has come since."""
    reader = sources(state, config).open_reader()
    try:
        total = sum(1 for _ in tiles_of(reader.size()))
        with progress_bars() as bar:
            done = export(reader, out, lambda count: bar("writing", count, total))
    finally:
        reader.close()
    if as_json:
        print_json({"records": done.size, "written": done.written, "kept": done.kept})
    else:
        console().print(f"{out} has the tiles of {done.size} records: {done.written} written, {done.kept} there already.")
