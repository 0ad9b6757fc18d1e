"""`lockgate audit ask`: questions that are kept with the workspace, by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from router.audit.questions.saved import FILE, Saved, chosen, saved_queries
from router.audit.questions.where import Parameters, WhereError
from router.cli.audit.noting import noted
from router.cli.audit.options import personal_option, question, state_option
from router.cli.audit.output import json_line
from router.cli.audit.records import print_lines, print_table
from router.cli.audit.sources import Sources, sources
from router.cli.audit.stats import print_statistics
from router.cli.common import config_option, console, json_option


@click.command()
@click.argument("name", required=False)
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="A parameter of the question; may be given several times.")
@click.option("--subject", help="Only what is about or by this person. Needs the sealing key.")
@click.option(
    "--queries", type=click.Path(dir_okay=False, path_type=Path), help=f"The file with the questions; {FILE} beside the configuration."
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, where the answer is a count.")
@personal_option
@state_option
@config_option
@json_option
def ask(
    name: str | None,
    given: tuple[str, ...],
    subject: str | None,
    queries: Path | None,
    as_csv: bool,
    personal: bool,
    state: Path | None,
    config: Path,
    as_json: bool,
) -> None:
    """Answer the saved question NAME, or list the questions that there are."""
    known = saved_queries(queries or (config if config.is_dir() else config.parent) / FILE)
    if name is None:
        _list(known, as_json)
        return
    try:
        saved = chosen(known, name)
        wanted = None if saved.where is None else {"where": saved.condition(_parameters(given))}
    except WhereError as error:
        raise click.UsageError(str(error)) from None
    if wanted is None:
        click.echo(f"Another command answers this: {saved.instead}", err=True)
        return
    _answer(sources(state, config), saved, wanted, subject, personal, as_json, as_csv)


def _answer(place: Sources, saved: Saved, wanted: dict[str, Any], subject: str | None, personal: bool, as_json: bool, as_csv: bool) -> None:
    asked = question(place, subject, None, wanted)
    if asked is None:
        return
    what = "stats" if saved.aggregated else "records"
    with place.trail(personal) as trail, noted(place.state, what, trail.told(asked), personal) as read:
        if saved.aggregated:
            found = trail.statistics(asked, saved.grouping())
            read.rows = found.count
            print_statistics(found, as_json, as_csv)
        elif as_json:
            print_lines(trail, asked, read, columns=saved.shown)
        else:
            print_table(trail, asked, read, columns=saved.shown)


def _parameters(given: tuple[str, ...]) -> Parameters:
    pairs = [each.partition("=") for each in given]
    for name, equals, _ in pairs:
        if not equals:
            raise click.BadParameter(f"{name!r} is not NAME=VALUE.", param_hint="--set")
    return {name: value for name, _, value in pairs}


def _list(known: Mapping[str, Saved], as_json: bool) -> None:
    if as_json:
        for name, saved in known.items():
            click.echo(json_line({"name": name, **saved.model_dump(mode="json", exclude_defaults=True)}))
        return
    if not known:
        click.echo(f"There are no saved questions; they stand in {FILE} beside the configuration.", err=True)
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "question", "parameters, or the command that answers"):
        table.add_column(heading)
    for name, saved in known.items():
        table.add_row(name, escape(saved.question), escape(saved.instead or ", ".join(saved.parameters)))
    console().print(table)
