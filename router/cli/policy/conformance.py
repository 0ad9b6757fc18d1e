"""`lockgate policy conformance`: OPA's conformance cases put to an engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from router.cli.common import console, print_json
from router.errors import ConfigError
from router.policy.conformance import FAIL, PASS, REFUSED, STRICTER, find_cases, read_ratchet, report, run_cases, unexpected

FAILED = 1


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--engine", default="embedded", show_default=True, help="The engine that is asked.")
@click.option("--ratchet", type=click.Path(path_type=Path), metavar="FILE", help="Notes of cases that are known to fail, one a line.")
@click.option(
    "--json", "out", type=click.Path(path_type=Path), metavar="OUT", help="Write every case's outcome there as JSON; '-' prints it."
)
def conformance(folder: Path, engine: str, ratchet: Path | None, out: Path | None) -> int:
    """Run the conformance cases in the YAML files below FOLDER, in the form in which OPA publishes its own.

    Cases that are refused at load, and errors where OPA has no answer by default, are limits: both deny. A wrong answer is a defect. The
    exit status is 1 when a case fails that is not in the list of known ones, and when one of the list fails no more.
    """
    known = read_ratchet(ratchet) if ratchet is not None else frozenset()
    results = list(run_cases(find_cases(folder), engine))
    wrong = unexpected(results, known)
    told = {"ok": not wrong, "engine": engine, **report(results), "unexpected": wrong}
    if out is not None and str(out) == "-":
        print_json(told)
        return FAILED if wrong else 0
    if out is not None:
        _write(out, told)
    table = Table("category", PASS, FAIL, REFUSED, STRICTER, box=None)
    for name, counts in told["categories"].items():
        table.add_row(name, *(f"{counts[each]:,}" for each in (PASS, FAIL, REFUSED, STRICTER)))
    table.add_row("all", *(f"{told[each]:,}" for each in (PASS, FAIL, REFUSED, STRICTER)), style="bold")
    console().print(table)
    for sentence in wrong:
        click.echo(sentence)
    return FAILED if wrong else 0


def _write(out: Path, told: dict[str, Any]) -> None:
    try:
        out.write_text(json.dumps(told, ensure_ascii=False, indent=2) + "\n")
    except OSError as error:
        raise ConfigError(f"{out}:1: The file cannot be written: {error.strerror}.") from error
