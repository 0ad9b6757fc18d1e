"""`lockgate audit stats`: counts, shares and percentiles over everything that matches."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from router.audit.questions.stats import BUCKET, MEASURED, PERCENTS, Statistics, grouping
from router.audit.questions.where import WhereError
from router.cli.audit.noting import noted
from router.cli.audit.options import Length, filters, question, state_option
from router.cli.audit.output import json_line
from router.cli.audit.records import short
from router.cli.audit.sources import sources
from router.cli.common import config_option, console, json_option

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _columns(_context: click.Context, _option: click.Parameter, value: str) -> tuple[str, ...]:
    try:
        return grouping(filter(None, map(str.strip, value.split(","))), None).by
    except WhereError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@filters
@click.option("--by", default="", callback=_columns, help="Columns to count by, with commas between: intent,verdict.")
@click.option("--bucket", type=Length(), help="Also by time, in steps of this length (UTC): 1h.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@state_option
@config_option
@json_option
def stats(
    by: tuple[str, ...],
    bucket: int | None,
    as_csv: bool,
    state: Path | None,
    config: Path,
    as_json: bool,
    subject: str | None,
    kind: str | None,
    **wanted: Any,
) -> None:
    """Count what matches, exactly: how many, which share, and percentiles of confidence and duration."""
    groups = grouping(by, bucket)
    place = sources(state, config)
    asked = question(place, subject, kind, wanted)
    if asked is None:
        return
    with place.trail(personal=False) as trail:
        text = f"{trail.told(asked)} by {', '.join(groups.by) or 'nothing'}"
        with noted(place.state, "stats", text, personal=False) as read:
            found = trail.statistics(asked, groups)
            read.rows = found.count
            print_statistics(found, as_json, as_csv)


def print_statistics(found: Statistics, as_json: bool, as_csv: bool) -> None:
    if as_json:
        click.echo(json_line(found.document()))
    elif as_csv:
        click.echo(_csv(found), nl=False)
    else:
        _table(found)


def _measures() -> list[tuple[str, str]]:
    return [(measure, f"p{percent}") for measure in MEASURED for percent in PERCENTS]


def _table(found: Statistics) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in found.headings:
        table.add_column(heading, no_wrap=heading == BUCKET)
    for heading in ("count", "share", *(f"{measure} {percent}" for measure, percent in _measures())):
        table.add_column(heading, justify="right")
    for group in found.groups:
        values = [group.measures[measure][percent] for measure, percent in _measures()]
        names = (escape("" if name is None else short(_cell(name))) for name in group.names)
        table.add_row(*names, str(group.count), f"{group.share:.1%}", *map(_short, values))
    screen = console()
    screen.print(table)
    screen.print(f"{found.count} records match, out of {found.complete} in the ledger; durations are in seconds")


def _cell(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _csv(found: Statistics) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*found.headings, "count", "share", *(f"{measure}_{percent}" for measure, percent in _measures()), "complete_to"])
    writer.writerows(_csv_rows(found))
    return text.getvalue()


def _csv_rows(found: Statistics) -> Iterator[list[Any]]:
    for group in found.groups:
        values = [group.measures[measure][percent] for measure, percent in _measures()]
        names = [_harmless("" if name is None else _cell(name)) for name in group.names]
        yield [*names, group.count, f"{group.share:.6f}", *("" if value is None else f"{value:.6f}" for value in values), found.complete]


def _harmless(text: str) -> str:
    """A spreadsheet takes what begins like a formula for one."""
    return f"'{text}" if text.startswith(_FORMULA) else text
