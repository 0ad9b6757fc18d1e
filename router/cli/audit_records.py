"""Pages of records: a table for people, lines of JSON for machines."""

from __future__ import annotations

import click

from router.audit.query import Page, Query, Trail
from router.cli.audit_noting import Read
from router.cli.audit_output import found_document, json_line, record_table
from router.cli.common import console

PAGE = 200


def print_lines(trail: Trail, asked: Query, read: Read, limit: int | None = None, newest: bool = True, cursor: int | None = None) -> None:
    left = limit
    while True:
        page = trail.page(asked, cursor, min(PAGE, left or PAGE), newest)
        for found in page.rows:
            click.echo(json_line(found_document(found)))
        read.rows += len(page.rows)
        cursor = page.cursor
        left = None if left is None else left - len(page.rows)
        if cursor is None or left == 0:
            return


def print_page(page: Page, read: Read) -> None:
    read.rows += len(page.rows)
    screen = console()
    screen.print(record_table(page.rows, screen.width))
    more = f"; more with --cursor {page.cursor}" if page.cursor is not None else ""
    screen.print(f"{len(page.rows)} records, out of {page.complete} in the ledger{more}")
