"""Formats of a SQLite file, as numbered steps: each leads from the format before it to its own. `meta.format` says which one a file has.

A step that was released is never changed; a new format is a new step at the end. Whoever owns the file takes the steps that it lacks
when it opens it, all in one transaction with the new number: an interrupted migration has not happened. There is no way back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from adapters.sqlite.connection import Connection
from router.errors import AuditError

Steps = Mapping[int, Sequence[str]]
"""Step 1 makes the tables where they are not there: before there were numbers, a file without one had format 1, or was half made."""


def migrate(connection: Connection, path: Path, steps: Steps) -> int:
    """Returns the format before; 0 for a new file. Raises AuditError `audit_format_unknown` when a newer release made the file."""
    newest = max(steps)
    if check_known(connection, path, newest) == newest:
        return newest
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = check_known(connection, path, newest)  # another process may have been quicker
        for number in range(found + 1, newest + 1):
            for statement in steps[number]:
                connection.execute(statement)
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('format', ?)", (str(newest),))
        connection.execute("COMMIT")
    except AuditError:
        with suppress(AuditError):  # SQLite may have done so by itself
            connection.execute("ROLLBACK")
        raise
    return found


def stored_format(connection: Connection) -> int:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'meta'"):
        return 0
    found = connection.execute("SELECT value FROM meta WHERE name = 'format'")
    return int(found[0][0]) if found else 0


def check_readable(connection: Connection, path: Path, newest: int) -> None:
    """For who only reads."""
    found = check_known(connection, path, newest)
    if found < newest:
        message = f"{path} has format {found}, this release reads {newest}: run `lockgate audit migrate` on it or on a copy."
        raise AuditError(message, "audit_format_old")


def check_known(connection: Connection, path: Path, newest: int) -> int:
    """The format. Raises AuditError `audit_format_unknown` when a newer release made the file."""
    found = stored_format(connection)
    if found > newest:
        raise AuditError(f"{path} has format {found}, this release knows {newest}.", "audit_format_unknown")
    return found
