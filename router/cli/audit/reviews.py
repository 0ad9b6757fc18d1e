"""`lockgate audit reviews`: how people decide about what is held for them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from router.audit.questions.columns import NS
from router.audit.questions.oversight import Oversight, Person, oversight, percentile
from router.audit.questions.query import Query
from router.cli.audit.noting import noted
from router.cli.audit.options import Length, Moment, Where, state_option
from router.cli.audit.output import json_line
from router.cli.audit.records import length_text
from router.cli.audit.sources import sources
from router.cli.common import config_option, console, json_option

SENTENCES = {
    "held": "were held",
    "expired": "were closed by time-out",
    "waiting": "wait now",
    "overdue": "of them longer than agreed",
}


@click.command()
@click.option("--since", type=Moment(), help="Only what happened from this time on.")
@click.option("--until", type=Moment(), help="Only what happened before this time.")
@click.option("--where", type=Where(), help="Only reviews for which this holds, such as \"risk >= 'high'\".")
@click.option("--sla", type=Length(), help="The time in which a request is to be decided about; its own deadline when left out.")
@click.option("--quick", type=Length(), default="10s", show_default=True, help="An approval sooner than this was hardly thought about.")
@state_option
@config_option
@json_option
def reviews(sla: int | None, quick: int, state: Path | None, config: Path, as_json: bool, **wanted: Any) -> None:
    """Show by reviewer how many requests they decided about, how fast, and how many they waved through."""
    place, asked = sources(state, config), Query(**wanted)
    with place.trail(personal=False) as trail, noted(place.state, "reviews", trail.told(asked), personal=False) as read:
        found = oversight(trail, asked, sla, quick, time.time_ns())
        read.rows = found.held + found.expired + sum(person.decided for person in found.people)
    if as_json:
        click.echo(json_line(_document(found)))
    else:
        _print(found, quick)


def _document(found: Oversight) -> dict[str, Any]:
    return {**{name: getattr(found, name) for name in SENTENCES}, "reviewers": [_person(person) for person in found.people]}


def _person(person: Person) -> dict[str, Any]:
    return {
        "reviewer": person.key_id,
        "decided": person.decided,
        "approved": person.approved,
        "rejected": person.rejected,
        "seconds_p50": percentile(person.waited, 50),
        "seconds_p95": percentile(person.waited, 95),
        "quick": person.quick,
        "quick_share": round(person.quick_share, 6),
        "late": person.late,
        "own_requests": person.own,
        "record": person.record,
    }


def _print(found: Oversight, quick: int) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("reviewer", no_wrap=True)
    headings = ("decided", "approved", "rejected", "half within", "95% within", f"under {length_text(quick / NS)}", "share", "late", "own")
    for heading in headings:
        table.add_column(heading, justify="right")
    for person in found.people:
        within = (length_text(percentile(person.waited, percent)) for percent in (50, 95))
        counts = (str(each) for each in (person.decided, person.approved, person.rejected))
        rest = (str(person.quick), f"{person.quick_share:.0%}", str(person.late), str(person.own))
        table.add_row(person.key_id, *counts, *within, *rest)
    screen = console()
    screen.print(table)
    screen.print("; ".join(f"{getattr(found, name)} {said}" for name, said in SENTENCES.items()))
