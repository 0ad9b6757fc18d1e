"""`lockgate audit reading`: who read the trail, or took a copy of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from router.audit.questions.query import Found, Query
from router.audit.questions.reading import EVENT
from router.audit.questions.where import where
from router.cli.audit.noting import noted
from router.cli.audit.options import Moment, Where, state_option
from router.cli.audit.output import json_line
from router.cli.audit.sources import sources
from router.cli.common import config_option, console, json_option

HEADINGS = ("time", "record", "reader", "by", "what", "asked for", "rows", "personal", "to")


@click.command()
@click.option("--since", type=Moment(), help="Only what was read from this time on.")
@click.option("--until", type=Moment(), help="Only what was read before this time.")
@click.option("--reader", help="Only what this person read: their subject id, or cli:uid1000 for an account. Needs the sealing key.")
@click.option("--where", type=Where(), help="Only readings for which this holds, such as \"opened = true or exported = 'file'\".")
@state_option
@config_option
@json_option
def reading(reader: str | None, state: Path | None, config: Path, as_json: bool, **wanted: Any) -> None:
    """Show who read the trail, by key id: what was asked for, how many records they saw, where these went."""
    place, asked = sources(state, config), Query(kind="system", result=EVENT, **wanted)
    if reader is not None:
        key_id = place.key_id(reader)
        if key_id is None:
            click.echo("This person read nothing, or their key was destroyed.", err=True)
            return
        asked = asked.also(where("reader = :reader", {"reader": key_id}))
    with place.trail(personal=False) as trail, noted(place.state, "readings", trail.told(asked), personal=False) as read:
        found = list(trail.find(replace(asked), newest=True))
        read.rows = len(found)
    if as_json:
        for each in found:
            click.echo(json_line({"index": each.index, "time": each.leaf["time"], **each.leaf["details"]}))
    else:
        _print(found)


def _print(found: list[Found]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading in ("record", "rows") else "left")
    for each in found:
        told = each.leaf["details"]
        said = [told.get(name, "") for name in ("reader_key", "source", "what", "filters", "rows")]
        opened = "opened" if told.get("opened") else ""
        time = each.leaf["time"][:19].replace("T", " ")
        table.add_row(*(escape(str(cell)) for cell in (time, each.index, *said, opened, told.get("exported", ""))))
    screen = console()
    screen.print(table)
    screen.print(f"{len(found)} readings")
