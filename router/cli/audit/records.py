"""Pages of records: a table for people, lines of JSON for machines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from router.audit.questions.columns import COLUMNS, NS, RECORD, Kind
from router.audit.questions.query import Found, Query, Trail
from router.cli.audit.noting import Read
from router.cli.audit.output import found_document, json_line, record_table
from router.cli.common import console

PAGE = 200
_DIGEST = re.compile(r"[0-9a-f]{64}")


def print_lines(
    trail: Trail,
    asked: Query,
    read: Read,
    limit: int | None = None,
    newest: bool = True,
    cursor: int | None = None,
    columns: Sequence[str] = (),
) -> None:
    left = limit
    while True:
        page = trail.page(asked, cursor, min(PAGE, left or PAGE), newest, _kept(columns))
        for found in page.rows:
            click.echo(json_line(_chosen(found, columns) if columns else found_document(found)))
        read.rows += len(page.rows)
        cursor = page.cursor
        left = None if left is None else left - len(page.rows)
        if cursor is None or left == 0:
            return


def print_table(
    trail: Trail,
    asked: Query,
    read: Read,
    limit: int = 50,
    newest: bool = True,
    cursor: int | None = None,
    columns: Sequence[str] = (),
) -> None:
    page = trail.page(asked, cursor, limit, newest, _kept(columns))
    read.rows += len(page.rows)
    screen = console()
    screen.print(_table(page.rows, columns) if columns else record_table(page.rows, screen.width))
    more = f"; more with --cursor {page.cursor}" if page.cursor is not None else ""
    screen.print(f"{len(page.rows)} records, out of {page.complete} in the ledger{more}")


def _kept(columns: Sequence[str]) -> list[str]:
    return [name for name in columns if name != RECORD.name]


def _chosen(found: Found, columns: Sequence[str]) -> dict[str, Any]:
    """With the opened personal fields, where there are any."""
    row = {RECORD.name: found.index, **{name: found.columns[name] for name in _kept(columns)}}
    return row if found.personal is None else {**row, "personal": found.personal}


def _table(rows: Sequence[Found], columns: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    shown = [RECORD.name, *_kept(columns)]
    personal = any(found.personal for found in rows)
    for name in (*shown, *(["personal"] if personal else [])):
        table.add_column(name, justify="right" if name == RECORD.name else "left")
    for found in rows:
        row = _chosen(found, columns)
        opened = [" ".join(f"{name}={value}" for name, value in (found.personal or {}).items())] if personal else []
        table.add_row(*(escape(_cell(name, row[name])) for name in shown), *map(escape, opened))
    return table


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    kind = RECORD.kind if name == RECORD.name else COLUMNS[name].kind
    match kind:
        case Kind.WORDS:
            return " ".join(value)
        case Kind.SCORE:
            return f"{value:.3f}"
        case Kind.DURATION:
            return length_text(value / NS)
        case Kind.TIME:
            return str(value)[:19].replace("T", " ")
        case Kind.FLAG:
            return "yes" if value else "no"
    return short(str(value))


def length_text(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.3f} s"


def short(text: str) -> str:
    """A digest as a table has room for it; JSON and CSV have all of it."""
    return f"{text[:12]}…" if _DIGEST.fullmatch(text) else text
