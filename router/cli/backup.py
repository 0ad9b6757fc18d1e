from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import click

from adapters.sqlite.place import KEYS_FILE, LEDGER_FILE, SqlitePlace
from router.cli.audit.options import state_option
from router.cli.audit.sources import sources
from router.cli.common import config_option
from router.errors import AuditError
from router.wiring.backing_up import Say, State, Target, as_tar, back_up_keys, back_up_records, in_folder

STREAM = "-"
TO = "FOLDER_OR_-"
Work = Callable[[State, Target, Say], None]


@click.command("backup")
@click.option("--keys", metavar=TO, help="Where the subjects' keys go, and the key files of the state directory.")
@click.option(
    "--records", metavar=TO, help="Where everything else goes that is not made again by itself: the ledger, checkpoints and others."
)
@state_option
@config_option
def backup(keys: str | None, records: str | None, state: Path | None, config: Path) -> None:
    """Copy a node's files while it serves.

    Keys and records go to places of their own, for who has both reads everything: give one of the two, or a folder for each. A folder
    is made, and is there once it is whole; `-` is a tar archive on standard output. Every copy is checked.
    """
    wanted: list[tuple[str, Work]] = [(keys, back_up_keys)] if keys else []  # keys first: the ledger may be newer than they are
    wanted += [(records, back_up_records)] if records else []
    _refuse(keys, records)
    found = sources(state, config)
    if not isinstance(found.place, SqlitePlace):
        message = "Ledger and subjects' keys are in PostgreSQL: copy each database with pg_dump, the keys' apart from the ledger's."
        raise AuditError(message, "audit_store_unsuited")
    at = State(found.state, found.checkpoints)
    for name in [KEYS_FILE] * bool(keys) + [LEDGER_FILE] * bool(records):
        at.check(name)
    for to, work in wanted:
        with _target(to, at) as target:
            work(at, target, partial(click.echo, err=to == STREAM))


def _refuse(keys: str | None, records: str | None) -> None:
    if not keys and not records:
        raise click.UsageError("Say what to copy, and where to: --records FOLDER, --keys ANOTHER, or one of them with '-'.")
    if keys and records and (STREAM in (keys, records) or _within(Path(keys), Path(records))):
        raise click.UsageError("Keys and records belong into places of their own: two folders, or two archives by two commands.")
    if STREAM in (keys, records) and sys.stdout.isatty():
        raise click.UsageError("Send the archive into a file or to another program: `lockgate backup --records - > records.tar`.")


def _within(one: Path, other: Path) -> bool:
    first, second = one.resolve(), other.resolve()
    return first.is_relative_to(second) or second.is_relative_to(first)


def _target(to: str, at: State) -> AbstractContextManager[Target]:
    return as_tar(sys.stdout.buffer, at.folder) if to == STREAM else in_folder(Path(to))
