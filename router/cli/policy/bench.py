"""`lockgate policy bench`: how long the policies take."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from router.cli.common import config_option, console, json_option, print_json
from router.cli.policy.options import data_option, folder_argument
from router.policy.folder import find
from router.policy.inputs import generated, recorded
from router.policy.timing import measure


@click.command()
@folder_argument
@config_option
@data_option
@click.option("--inputs", type=click.Path(path_type=Path), metavar="FILE.jsonl", help="Inputs, one a line; else made from the fixtures.")
@click.option("--rounds", type=click.IntRange(100, 1_000_000), default=2000, show_default=True, help="Evaluations of each kind.")
@json_option
def bench(folder: Path | None, config: Path, data: Path | None, inputs: Path | None, rounds: int, as_json: bool) -> None:
    """Measure the policies in FOLDER, or else the workspace's, in the embedded engine: microseconds by entry point.

    Cold is evaluated each time; remembered is what a request costs whose values were judged before.
    """
    found = find(folder, config, data)
    timings = measure(found, recorded(inputs) if inputs is not None else generated(found), rounds)
    if as_json:
        print_json([asdict(each) for each in timings])
        return
    table = Table("entry", "", "inputs", "p50 µs", "p99 µs", box=None)
    for each in timings:
        kind = "remembered" if each.remembered else "cold"
        table.add_row(each.entry, kind, str(each.inputs), f"{each.p50_us:,.1f}", f"{each.p99_us:,.1f}")
    console().print(table)
