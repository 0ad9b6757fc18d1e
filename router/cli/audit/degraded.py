"""`lockgate audit degraded`: when a part failed, was away, or was worked round."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from router.audit.questions.absences import absences
from router.audit.questions.periods import Period, periods
from router.audit.questions.query import Query
from router.audit.records.canonical import timestamp
from router.cli.audit.noting import noted
from router.cli.audit.options import Length, Moment, state_option
from router.cli.audit.output import json_line
from router.cli.audit.sources import sources
from router.cli.common import config_option, console, json_option

HEADINGS = ("part", "since", "until", "how", "records", "went on", "counted", "node", "reasons")


@click.command()
@click.option("--since", type=Moment(), help="Only what happened from this time on.")
@click.option("--until", type=Moment(), help="Only what happened before this time.")
@click.option("--gap", type=Length(), default="5m", show_default=True, help="Signs that are further apart belong to two periods.")
@state_option
@config_option
@json_option
def degraded(gap: int, state: Path | None, config: Path, as_json: bool, **wanted: Any) -> None:
    """Show every period in which a part failed: which, how long, and whether requests went on all the same or were refused."""
    place, asked = sources(state, config), Query(**wanted)
    with place.trail(personal=False) as trail, noted(place.state, "periods", trail.told(asked), personal=False) as read:
        found = sorted([*periods(trail, asked, gap), *absences(trail, asked, time.time_ns())], key=lambda one: (one.since_ns, one.part))
        read.rows = sum(period.records for period in found)
    if as_json:
        for period in found:
            click.echo(json_line(_document(period)))
    else:
        _print(found)


def _document(period: Period) -> dict[str, Any]:
    return {
        "part": period.part,
        "since": timestamp(period.since_ns),
        "until": timestamp(period.until_ns),
        "how": period.how,
        "records": period.records,
        "went_on": period.went_on,
        "counted": period.counted,
        "first_record": period.first,
        "last_record": period.last,
        "node": period.node or None,
        "reasons": list(period.reasons),
    }


def _print(found: list[Period]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading in ("records", "went on", "counted") else "left")
    for period in found:
        times = (timestamp(at)[:19].replace("T", " ") for at in (period.since_ns, period.until_ns))
        counts = (str(each) for each in (period.records, period.went_on, period.counted))
        table.add_row(period.part, *times, period.how, *counts, period.node, " ".join(period.reasons))
    screen = console()
    screen.print(table)
    screen.print(f"{len(found)} periods")
